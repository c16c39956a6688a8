#include "service/tokens.h"

#include "base/clock.h"
#include "config/config.h"
#include "service/auth.h"
#include "service/settings.h"
#include "service/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "command-service token: the tokens that requestors and agents show\n"
    "\n"
    "  command-service token create --org ORG --role requestor [--db FILE]\n"
    "  command-service token create --org ORG --role agent --agent ID [--db FILE]\n"
    "        prints a new token, once: only its digest is stored\n"
    "  command-service token list [--db FILE]\n"
    "  command-service token revoke ID [--db FILE]\n"
    "        from then on the token is refused, also by a service that is running\n"
    "\n"
    "These work while the service runs on the same database.\n"
    "\n"
    "Example: AUTH_TOKEN=$(command-service token create --org acme --role requestor)\n"
    "\n";

int token_create(struct store *store, enum role role, const char *org, const char *agent,
		 struct secret *text, struct error *err)
{
	struct token token = {.role = role};
	uint8_t digest[SHA256_SIZE];
	(void)snprintf(token.org, sizeof token.org, "%s", org);
	(void)snprintf(token.agent, sizeof token.agent, "%s", agent ? agent : "");
	token_make(role, text, digest);
	return store_token_add(store, &token, digest, err);
}

/* ---- Words of the command line */

struct words {
	const char *org;
	const char *role;
	const char *agent;
	const char *id;
};

/* A name goes into headers, URLs and logs. */
static void check_name(const char *flag, const char *name, size_t max, struct problems *problems)
{
	bool is_good = name && *name && strlen(name) <= max && strcmp(name, ".") != 0 &&
		       strcmp(name, "..") != 0;
	for (size_t i = 0; is_good && name[i]; i++)
		is_good = name[i] > ' ' && name[i] < 0x7F && name[i] != '/';
	if (!name)
		problems_add(problems, "%s (command line): missing", flag);
	else if (!is_good)
		problems_add(problems,
			     "%s (command line): must be 1 to %zu printable ASCII characters "
			     "without spaces and '/', not \"%s\"",
			     flag, max, name);
}

static enum role read_role(const struct words *words, struct problems *problems)
{
	if (words->role && strcmp(words->role, "agent") == 0) {
		check_name("--agent", words->agent, TARGET_MAX, problems);
		return ROLE_AGENT;
	}
	if (words->role && strcmp(words->role, "requestor") == 0) {
		if (words->agent)
			problems_add(problems, "--agent (command line): only goes with --role "
					       "agent: a requestor's token is for all agents");
		return ROLE_REQUESTOR;
	}
	problems_add(problems, "--role (command line): must be requestor or agent, not \"%s\"",
		     words->role ? words->role : "");
	return ROLE_NONE;
}

/* ---- Verbs: all return an exit status */

static int fail(const struct error *err)
{
	(void)fprintf(stderr, "command-service: %s\n", err->message);
	return EXIT_FAILURE;
}

static int create(const struct service_settings *settings, const struct words *words)
{
	struct problems problems = PROBLEMS_INIT;
	struct store *store = NULL;
	struct secret text = {0};
	struct error err;
	enum role role = read_role(words, &problems);
	check_name("--org", words->org, ORG_MAX, &problems);
	if (usage_report(&problems))
		return USAGE_EXIT;
	int rc = store_open(&store, settings->db, STORE_TOOL, &err);
	if (rc == 0)
		rc = token_create(store, role, words->org, words->agent, &text, &err);
	store_close(store);
	if (rc == 0 && (printf("%s\n", text.bytes) < 0 || fflush(stdout) != 0))
		rc = error_set(&err, ERR_SYSTEM, "print the token: standard output is closed");
	secret_release(&text);
	return rc < 0 ? fail(&err) : EXIT_SUCCESS;
}

static void print_token(void *context, const struct token *token)
{
	char created[CLOCK_TEXT_SIZE];
	char revoked[CLOCK_TEXT_SIZE] = "-";
	(void)context;
	clock_format(token->created_ms, created);
	if (token->revoked_ms > 0)
		clock_format(token->revoked_ms, revoked);
	(void)printf("%-36s  %-9s  %-16s  %-36s  %-24s  %s\n", token->id, role_name(token->role),
		     token->org, *token->agent ? token->agent : "-", created, revoked);
}

static int list(const struct service_settings *settings)
{
	struct store *store = NULL;
	struct error err;
	int rc = store_open(&store, settings->db, STORE_EXISTING, &err);
	if (rc == 0) {
		(void)printf("%-36s  %-9s  %-16s  %-36s  %-24s  %s\n", "ID", "ROLE", "ORG", "AGENT",
			     "CREATED", "REVOKED");
		rc = store_token_each(store, print_token, NULL, &err);
	}
	store_close(store);
	return rc < 0 ? fail(&err) : EXIT_SUCCESS;
}

static int revoke_token(const struct service_settings *settings, const struct words *words)
{
	struct store *store = NULL;
	struct error err;
	if (!words->id) {
		(void)fprintf(stderr, "command-service: token revoke: which one? Its ID stands in "
				      "`command-service token list`\n");
		return USAGE_EXIT;
	}
	int rc = store_open(&store, settings->db, STORE_EXISTING, &err);
	if (rc == 0)
		rc = store_token_revoke(store, words->id, clock_now_ms(), &err);
	store_close(store);
	if (rc < 0)
		return fail(&err);
	(void)fprintf(stderr, "revoked %s\n", words->id);
	return EXIT_SUCCESS;
}

static int run(const char *verb, const struct service_settings *settings, const struct words *words)
{
	if (strcmp(verb, "create") == 0)
		return create(settings, words);
	if (strcmp(verb, "list") == 0)
		return list(settings);
	if (strcmp(verb, "revoke") == 0)
		return revoke_token(settings, words);
	(void)fprintf(stderr, "command-service: token %s: no such verb: create, list or revoke\n",
		      verb);
	return USAGE_EXIT;
}

static void print_help(void)
{
	struct buf text = BUF_INIT(64 * 1024);
	(void)buf_append_str(&text, usage);
	service_settings_help(true, &text);
	(void)fputs(buf_str(&text), stdout);
	buf_release(&text);
}

int token_verb(int argc, char **argv)
{
	struct words words = {0};
	struct service_settings settings;
	struct problems problems = PROBLEMS_INIT;
	const struct usage_word known[] = {
	    {"--org", &words.org},
	    {"--role", &words.role},
	    {"--agent", &words.agent},
	    {NULL, NULL},
	};
	if (argc < 2 || usage_wants_help(argc, argv)) {
		print_help();
		return argc < 2 ? USAGE_EXIT : EXIT_SUCCESS;
	}
	usage_take(&argc, argv, known, &problems);
	service_settings_load(&settings, true, &argc, argv, &problems);
	if (argc > 2 && strcmp(argv[1], "revoke") == 0) {
		words.id = argv[2];
		argc--;
		argv[2] = argv[3];
	}
	usage_check_rest(argc, argv, 2, &problems);
	int status = usage_report(&problems) ? USAGE_EXIT : run(argv[1], &settings, &words);
	service_settings_release(&settings);
	return status;
}
