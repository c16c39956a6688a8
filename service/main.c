/* The command service's command line: verbs, nothing else. */
#include "config/config.h"
#include "service/service.h"
#include "service/tokens.h"
#include "service/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char usage[] =
    "command-service: takes commands from requestors and hands them to relay agents\n"
    "\n"
    "  command-service serve [--listen ADDRESS:PORT] [--db FILE] [--dev] ...\n"
    "  command-service token create|list|revoke ...\n"
    "  command-service version\n"
    "\n"
    "Each verb has --help. To try it out, with tokens made for you:\n"
    "\n"
    "  command-service serve --db /tmp/try.db --dev\n";

static const char serve_usage[] =
    "command-service serve: serves until SIGTERM or SIGINT\n"
    "\n"
    "  --dev\n"
    "        on a database without tokens: makes an organisation, an agent and a token for\n"
    "        each side, and prints how to use them\n";

static const char serve_example[] =
    "\n"
    "Each option can be set in the environment instead, under the name beside it.\n"
    "\n"
    "Example: command-service serve --listen 0.0.0.0:8443 --db /var/lib/commands.db \\\n"
    "             --tls-cert cert.pem --tls-key key.pem\n";

static void print_serve_help(void)
{
	struct buf text = BUF_INIT(64 * 1024);
	(void)buf_append_str(&text, serve_usage);
	service_settings_help(false, &text);
	(void)buf_append_str(&text, serve_example);
	(void)fputs(buf_str(&text), stdout);
	buf_release(&text);
}

static int serve(int argc, char **argv)
{
	struct service_settings settings;
	struct problems wrong = PROBLEMS_INIT;
	struct problems unknown = PROBLEMS_INIT;
	if (usage_wants_help(argc, argv)) {
		print_serve_help();
		return EXIT_SUCCESS;
	}
	bool is_dev = usage_take_switch(&argc, argv, "--dev");
	service_settings_load(&settings, false, &argc, argv, &wrong);
	usage_check_rest(argc, argv, 1, &unknown);
	int status;
	if (usage_report(&unknown)) {
		(void)usage_report(&wrong); /* all at once */
		status = USAGE_EXIT;
	} else {
		status = usage_report(&wrong) ? EXIT_CONFIG : service_run(&settings, is_dev);
	}
	service_settings_release(&settings);
	return status;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	(void)umask(077); /* the database holds other people's payloads */
	if (strcmp(verb, "serve") == 0)
		return serve(argc - 1, argv + 1);
	if (strcmp(verb, "token") == 0)
		return token_verb(argc - 1, argv + 1);
	if (strcmp(verb, "version") == 0 || strcmp(verb, "--version") == 0) {
		(void)puts("command-service " VERSION);
		return EXIT_SUCCESS;
	}
	if (strcmp(verb, "help") == 0 || usage_wants_help(argc, argv)) {
		(void)fputs(usage, stdout);
		return EXIT_SUCCESS;
	}
	if (*verb)
		(void)fprintf(stderr, "command-service: %s: no such verb\n\n", verb);
	(void)fputs(usage, stderr);
	return USAGE_EXIT;
}
