#include "agent/cmd.h"

#include "base/str.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} VERBS[] = {
    {"run", cmd_run, "poll for commands and relay them (also without a verb)"},
    {"exec", cmd_exec, "run one payload or command here, without a service"},
    {"send", cmd_send, "be a requestor: send a command, wait, print the target's answer"},
    {"keygen", cmd_keygen, "print a new key for V2 commands"},
    {"encrypt", cmd_encrypt, "seal a payload into a V2 envelope"},
    {"decrypt", cmd_decrypt, "open a V2 envelope"},
    {"journal", cmd_journal, "list the commands whose answer waits to be posted"},
    {"settings", cmd_settings, "list all settings as Markdown"},
    {"version", cmd_version, "print the version"},
};

enum { VERB_COUNT = sizeof VERBS / sizeof VERBS[0] };

/* Debian's libcurl brings GnuTLS along for LDAP and RTMP, which are never used here, and GnuTLS
 * readies itself when it is loaded: a megabyte and milliseconds for nothing. It asks this
 * function (GnuTLS manual, "Initialization") whether it should not. */
int _gnutls_global_init_skip(void); // NOLINT(bugprone-reserved-identifier)
int _gnutls_global_init_skip(void)  // NOLINT(bugprone-reserved-identifier)
{
	return 1;
}

static int print_help(FILE *out)
{
	fputs("relay-agent relays HTTP requests into a network that lets nothing in.\n\n"
	      "Usage: relay-agent [VERB] [OPTION…]\n\n",
	      out);
	for (size_t i = 0; i < VERB_COUNT; i++)
		fprintf(out, "  %-10s %s\n", VERBS[i].name, VERBS[i].help);
	fputs("\n`relay-agent VERB --help` says more, with an example.\n\n"
	      "Example:\n"
	      "  COMMAND_SERVICE_URL=https://commands.example.com AGENT_ID=lab-1 ORG_SLUG=acme \\\n"
	      "  AUTH_TOKEN_FILE=/run/secrets/token relay-agent run\n",
	      out);
	return 0;
}

static int unknown_verb(const char *name)
{
	const char *names[VERB_COUNT + 1] = {0};
	for (size_t i = 0; i < VERB_COUNT; i++)
		names[i] = VERBS[i].name;
	const char *near = str_nearest(name, names);
	fprintf(stderr, "relay-agent: there is no verb \"%s\"%s%s%s\nTry `relay-agent --help`.\n",
		name, near != NULL ? ": did you mean \"" : "", near != NULL ? near : "",
		near != NULL ? "\"?" : "");
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	/* A peer that closes a connection while we write is an error value, not a signal. */
	/* … and a file that may not grow as well: the journal then says that its disk is full. */
	sigaction(SIGXFSZ, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
			 strcmp(argv[1], "help") == 0))
		return print_help(stdout);
	if (argc > 1 && strcmp(argv[1], "--version") == 0)
		return cmd_version(1, argv + 1);
	if (argc < 2 || argv[1][0] == '-')
		return cmd_run(argc, argv);
	for (size_t i = 0; i < VERB_COUNT; i++) {
		if (strcmp(argv[1], VERBS[i].name) == 0)
			return VERBS[i].run(argc - 1, argv + 1);
	}
	return unknown_verb(argv[1]);
}
