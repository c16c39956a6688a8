#include "agent/settings.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/url.h"
#include "config/config.h"
#include "crypto/key.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_FILE "/etc/relay-agent/relay.yaml"

enum { NAME_BYTES_MAX = 128, TOKEN_BYTES_MAX = 16 * 1024 };

/* In the order of enum log_level and enum settings_log_format. */
static const char *const journal_syncs[] = {"full", "normal", NULL};
static const char *const interrupted_choices[] = {"fail", "retry", "fail-all", NULL};
static const char *const transports[] = {"auto", "http", "tdp", NULL};
static const char *const sqs_acks[] = {"journal", "done", NULL};
static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const log_formats[] = {"auto", "text", "json", NULL};
_Static_assert(LOG_LEVEL_DEBUG == 0 && LOG_LEVEL_ERROR == 3, "log_levels follows the enum");
_Static_assert(SETTINGS_LOG_AUTO == 0 && SETTINGS_LOG_JSON == 2, "log_formats follows the enum");

/* Paths are appended to it, and it is shown in logs: nothing else may be in it. */
static int check_service_url(const char *text, size_t size, struct error *err)
{
	struct url url;
	if (memchr(text, '#', size))
		return error_set(err, ERR_INVALID, "must not have a fragment (#…)");
	if (memchr(text, '?', size))
		return error_set(err, ERR_INVALID, "must not have a query (?…)");
	int rc = url_parse(text, &url, err);
	if (rc)
		return rc;
	if (url.user || url.password)
		rc = error_set(err, ERR_INVALID,
			       "must not hold a user name or password: the token goes into "
			       "AUTH_TOKEN");
	url_release(&url);
	return rc;
}

/* Goes into headers and as one segment into URLs, where "." and ".." would be resolved. */
static int check_name(const char *text, size_t size, struct error *err)
{
	bool is_fine = size <= NAME_BYTES_MAX && strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
	for (size_t i = 0; i < size && is_fine; i++)
		is_fine = text[i] > ' ' && text[i] < 0x7f && text[i] != '/';
	if (is_fine)
		return 0;
	return error_set(err, ERR_INVALID,
			 "must be printable ASCII characters without white space or '/', at most "
			 "%d of them",
			 NAME_BYTES_MAX);
}

static int check_token(const char *text, size_t size, struct error *err)
{
	if (!str_is_header_value(text, size))
		return error_set(err, ERR_INVALID,
				 "must not hold a line break or NUL: it goes into a header (is "
				 "there a newline at its end?)");
	if (size > TOKEN_BYTES_MAX)
		return error_set(err, ERR_INVALID, "must not be longer than %d bytes",
				 TOKEN_BYTES_MAX);
	/* The other side of a header takes white space around a value off. */
	if (strchr(" \t", text[0]) || strchr(" \t", text[size - 1]))
		return error_set(err, ERR_INVALID, "must not have white space around it");
	return 0;
}

static int check_key(const char *text, size_t size, struct error *err)
{
	struct key key = {0};
	int rc = key_parse(text, size, &key, err);
	if (!rc)
		key_release(&key);
	return rc;
}

static bool is_port(const char *text)
{
	int64_t port;
	return *text >= '0' && *text <= '9' && str_to_int64(text, &port) && port >= 1 &&
	       port <= 65535;
}

/* "host:port", "[::1]:port", "host"; authority has no user any more and is ours to cut. */
static bool is_host_and_port(char *authority, bool needs_port)
{
	char *end = authority;
	if (*authority == '[') {
		end = strchr(authority, ']');
		if (!end || end == authority + 1)
			return false;
		end++;
	} else {
		end += strcspn(authority, ":");
		if (end == authority || authority[strcspn(authority, "/?#[]@ ")])
			return false;
	}
	if (*end == '\0')
		return !needs_port;
	return *end == ':' && is_port(end + 1);
}

/* What libcurl takes as a proxy, less its older schemes. Not a SETTING_URL: "host:port"
 * alone is common, and socks5 is no URL of ours. */
static int check_proxy(const char *text, size_t size, struct error *err)
{
	static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://",
					      NULL};
	char *copy = mem_strndup(text, size);
	char *authority = copy;
	for (size_t i = 0; schemes[i] && authority == copy; i++)
		if (strncasecmp(copy, schemes[i], strlen(schemes[i])) == 0)
			authority = copy + strlen(schemes[i]);
	bool needs_port = authority == copy;
	size_t length = strlen(authority);
	if (!needs_port && length > 0 && authority[length - 1] == '/')
		authority[length - 1] = '\0';
	char *at = strrchr(authority, '@');
	bool is_fine = is_host_and_port(at ? at + 1 : authority, needs_port);
	secret_wipe(copy, size);
	free(copy);
	if (is_fine)
		return 0;
	return error_set(err, ERR_INVALID,
			 "must be host:port or a URL that begins with http://, https://, "
			 "socks5:// or socks5h://, for example http://proxy.example.com:3128");
}

#define AT(field) .offset = offsetof(struct settings, field)

const struct setting settings_table[] = {
    {.env = "COMMAND_SERVICE_URL",
     .yaml = "service.url",
     .type = SETTING_URL,
     AT(service_url),
     .required_for = NEED_SERVICE,
     .check = check_service_url,
     .help = "where commands come from: TDP, or your own command service",
     .example = "https://api.tetrascience.com"},
    {.env = "AGENT_ID",
     .yaml = "service.agent_id",
     .type = SETTING_TEXT,
     AT(agent_id),
     .required_for = NEED_SERVICE,
     .check = check_name,
     .help = "the agent whose commands are taken, as the service names it",
     .example = "9f1c5a52-6f0e-4c5e-8a35-0d6a3a1f7b11"},
    {.env = "ORG_SLUG",
     .yaml = "service.org",
     .type = SETTING_TEXT,
     AT(org_slug),
     .required_for = NEED_SERVICE,
     .check = check_name,
     .help = "the organisation the agent belongs to",
     .example = "my-org"},
    {.env = "AUTH_TOKEN",
     .yaml = "service.token",
     .type = SETTING_SECRET,
     AT(token),
     .required_for = NEED_SERVICE,
     .check = check_token,
     .help = "the token that the service gave out for this agent",
     .example = "AUTH_TOKEN_FILE=/run/secrets/agent_token"},
    {.env = "SECURE_COMMAND_KEY",
     .yaml = "crypto.key",
     .type = SETTING_SECRET,
     AT(key),
     .required_for = NEED_KEY,
     .check = check_key,
     .help = "the key of encrypted (V2) commands; `relay-agent keygen` makes one",
     .example = "SECURE_COMMAND_KEY_FILE=/run/secrets/command_key"},
    {.env = "SECURE_COMMAND_KEY_PREVIOUS",
     .yaml = "crypto.previous_key",
     .type = SETTING_SECRET,
     AT(previous_key),
     .check = check_key,
     .help = "tried where SECURE_COMMAND_KEY fails, so that a key is changed without a gap"},
    {.env = "TRANSPORT",
     .yaml = "service.transport",
     .type = SETTING_CHOICE,
     AT(transport),
     .fallback = "auto",
     .choices = transports,
     .help = "how commands come: http, from a command service; tdp, from the queues of the Tetra "
	     "Data Platform; auto asks the service"},
    {.env = "POLL_WAIT_SECONDS",
     .yaml = "service.poll_wait_seconds",
     .type = SETTING_INT,
     AT(poll_wait_seconds),
     .fallback = "20",
     .min = 1,
     .max = 60,
     .unit = "seconds",
     .help = "how long the service may hold a poll open while there are no commands"},
    {.env = "MAX_IN_FLIGHT",
     .yaml = "relay.max_in_flight",
     .type = SETTING_INT,
     AT(max_in_flight),
     .fallback = "256",
     .min = 1,
     .max = 10000,
     .help = "commands under way at once"},
    {.env = "MAX_IN_FLIGHT_PER_HOST",
     .yaml = "relay.max_in_flight_per_host",
     .type = SETTING_INT,
     AT(max_in_flight_per_host),
     .fallback = "64",
     .min = 1,
     .max = 10000,
     .help = "commands under way to one target host; more wait, those to others go ahead"},
    {.env = "REQUEST_TIMEOUT_MS",
     .yaml = "relay.request_timeout_ms",
     .type = SETTING_INT,
     AT(request_timeout_ms),
     .fallback = "10000",
     .min = 1,
     .max = 86400000,
     .unit = "milliseconds",
     .help = "how long a target may take when the command does not say"},
    {.env = "MAX_TIMEOUT_MS",
     .yaml = "relay.max_timeout_ms",
     .type = SETTING_INT,
     AT(max_timeout_ms),
     .fallback = "600000",
     .min = 1,
     .max = 86400000,
     .unit = "milliseconds",
     .help = "the longest time that a command may ask for"},
    {.env = "MAX_RESPONSE_BYTES",
     .yaml = "relay.max_response_bytes",
     .type = SETTING_INT,
     AT(max_response_bytes),
     .fallback = "104857600",
     .min = 1,
     .max = 1073741824,
     .unit = "bytes",
     .help = "the largest answer taken from a target"},
    {.env = "MAX_REDIRECTS",
     .yaml = "relay.max_redirects",
     .type = SETTING_INT,
     AT(max_redirects),
     .fallback = "20",
     .min = 0,
     .max = 100,
     .help = "redirects followed for one command"},
    {.env = "DRAIN_SECONDS",
     .yaml = "relay.drain_seconds",
     .type = SETTING_INT,
     AT(drain_seconds),
     .fallback = "8",
     .min = 0,
     .max = 3600,
     .unit = "seconds",
     .help = "how long commands under way may still take after SIGTERM"},
    {.env = "STATE_DIR",
     .yaml = "state.dir",
     .type = SETTING_TEXT,
     AT(state_dir),
     .fallback = "/var/lib/relay-agent",
     .help = "the folder of the journal; one for each agent, made where it is missing",
     .example = "/var/lib/relay-agent"},
    {.env = "JOURNAL_SYNC",
     .yaml = "state.journal_sync",
     .type = SETTING_CHOICE,
     AT(journal_sync),
     .fallback = "full",
     .choices = journal_syncs,
     .help = "what the journal survives: full, a power cut; normal, the end of the process"},
    {.env = "ON_INTERRUPTED",
     .yaml = "state.on_interrupted",
     .type = SETTING_CHOICE,
     AT(on_interrupted),
     .fallback = "fail",
     .choices = interrupted_choices,
     .help = "requests that were under way when the agent died: fail those that may have "
	     "changed something, retry all, or fail-all"},
    {.env = "SQS_ACK",
     .yaml = "state.sqs_ack",
     .type = SETTING_CHOICE,
     AT(sqs_ack),
     .fallback = "journal",
     .choices = sqs_acks,
     .help = "when TDP's queue forgets a command: journal, as soon as the journal has it; done, "
	     "when its answer has been taken"},
    {.env = "DEDUPE_HOURS",
     .yaml = "state.dedupe_hours",
     .type = SETTING_INT,
     AT(dedupe_hours),
     .fallback = "24",
     .min = 0,
     .max = 8760,
     .unit = "hours",
     .help = "how long an answered command is remembered, so that it is not executed twice"},
    {.env = "RESULT_RETENTION_HOURS",
     .yaml = "state.result_retention_hours",
     .type = SETTING_INT,
     AT(result_retention_hours),
     .fallback = "24",
     .min = 0,
     .max = 8760,
     .unit = "hours",
     .help = "how long after its command has expired an answer that cannot be posted is kept"},
    {.env = "JOURNAL_MAX_MB",
     .yaml = "state.journal_max_mb",
     .type = SETTING_INT,
     AT(journal_max_mb),
     .fallback = "1024",
     .min = 1,
     .max = 1048576,
     .unit = "MB",
     .help = "room for the journal: posted answers go first, then no new command is taken"},
    {.env = "CA_FILE",
     .yaml = "tls.ca_file",
     .type = SETTING_PATH,
     AT(ca_file),
     .help = "PEM file of authorities that are trusted besides the system's",
     .example = "/etc/relay-agent/ca.pem"},
    {.env = "CLIENT_CERT_FILE",
     .yaml = "tls.client_cert_file",
     .type = SETTING_PATH,
     AT(client_cert_file),
     .help = "PEM file of the certificate that the command service asks for (mTLS)",
     .example = "/etc/relay-agent/client.pem"},
    {.env = "CLIENT_KEY_FILE",
     .yaml = "tls.client_key_file",
     .type = SETTING_PATH,
     AT(client_key_file),
     .help = "PEM file of the private key of CLIENT_CERT_FILE",
     .example = "/etc/relay-agent/client.key"},
    {.env = "HTTPS_PROXY",
     .yaml = "proxy.https",
     .type = SETTING_TEXT,
     AT(https_proxy),
     .is_private = true,
     .check = check_proxy,
     .help = "the proxy on the way to an https:// command service; targets do not use it",
     .example = "http://proxy.example.com:3128"},
    {.env = "HTTP_PROXY",
     .yaml = "proxy.http",
     .type = SETTING_TEXT,
     AT(http_proxy),
     .is_private = true,
     .check = check_proxy,
     .help = "the proxy on the way to an http:// command service; targets do not use it",
     .example = "http://proxy.example.com:3128"},
    {.env = "NO_PROXY",
     .yaml = "proxy.no_proxy",
     .type = SETTING_TEXT,
     AT(no_proxy),
     .help = "hosts that are reached without a proxy, with commas between them",
     .example = "localhost,.lab.local,10.0.0.0/8"},
    {.env = "TARGET_PROXY",
     .yaml = "proxy.target",
     .type = SETTING_TEXT,
     AT(target_proxy),
     .is_private = true,
     .check = check_proxy,
     .help = "the proxy on the way to targets",
     .example = "http://proxy.example.com:3128"},
    {.env = "LOG_LEVEL",
     .yaml = "log.level",
     .type = SETTING_CHOICE,
     AT(log_level),
     .fallback = "info",
     .choices = log_levels,
     .help = "the least important lines that are still logged"},
    {.env = "LOG_FORMAT",
     .yaml = "log.format",
     .type = SETTING_CHOICE,
     AT(log_format),
     .fallback = "auto",
     .choices = log_formats,
     .help = "how lines are logged; auto is text on a terminal and JSON otherwise"},
};

const size_t settings_count = sizeof settings_table / sizeof *settings_table;

/* Where the file is must be known before the settings are read, so this setting has a
 * table of its own; with its prefix taken off the flag is --config. */
struct file_setting {
	char *path;
};

static const struct setting file_table[] = {
    {.env = "RELAY_CONFIG",
     .type = SETTING_TEXT,
     .offset = offsetof(struct file_setting, path),
     .help = "the YAML file with settings (default " DEFAULT_FILE ", where it exists)",
     .example = DEFAULT_FILE},
};

static const struct config_source file_source = {
    .table = file_table, .count = 1, .flag_prefix = "RELAY_"};

/* The caller frees the path; NULL: none was named. */
static char *find_file(int *argc, char **argv, struct problems *problems)
{
	const char *flag = NULL;
	struct file_setting found = {0};
	config_take_flags(&file_source, argc, argv, &flag, problems);
	config_load(&file_source, &flag, NULL, &found, problems);
	return found.path;
}

enum { DEFAULT_TIMEOUT_MS = 10000 };

/* Rules between settings. A number that was refused is 0 and reported already. */
static void check_together(struct settings *settings, struct problems *problems)
{
	/* Whoever lowers the maximum alone means the default too. */
	if (settings->max_timeout_ms > 0 && settings->request_timeout_ms == DEFAULT_TIMEOUT_MS &&
	    settings->max_timeout_ms < DEFAULT_TIMEOUT_MS)
		settings->request_timeout_ms = settings->max_timeout_ms;
	if (settings->max_timeout_ms > 0 && settings->request_timeout_ms > settings->max_timeout_ms)
		problems_add(problems,
			     "REQUEST_TIMEOUT_MS (relay.request_timeout_ms: %" PRId64
			     ") must not be above MAX_TIMEOUT_MS (relay.max_timeout_ms: %" PRId64
			     "): lower the first or raise the second",
			     settings->request_timeout_ms, settings->max_timeout_ms);
	if (settings->client_cert_file && !settings->client_key_file)
		problems_add(problems,
			     "CLIENT_CERT_FILE (tls.client_cert_file) needs CLIENT_KEY_FILE "
			     "(tls.client_key_file): its private key");
	if (settings->client_key_file && !settings->client_cert_file)
		problems_add(problems,
			     "CLIENT_KEY_FILE (tls.client_key_file) needs CLIENT_CERT_FILE "
			     "(tls.client_cert_file): the certificate it belongs to");
}

void settings_load(struct settings *settings, unsigned needs, int *argc, char **argv,
		   struct problems *problems)
{
	*settings = (struct settings){0};
	char *path = find_file(argc, argv, problems);
	struct config_source source = {.table = settings_table,
				       .count = settings_count,
				       .flag_prefix = "",
				       .file = path ? path : DEFAULT_FILE,
				       .file_is_optional = !path,
				       .needs = needs};
	const char *values[sizeof settings_table / sizeof *settings_table] = {0};
	config_take_flags(&source, argc, argv, values, problems);
	config_load(&source, values, NULL, settings, problems);
	check_together(settings, problems);
	free(path);
}

void settings_release(struct settings *settings)
{
	config_release(settings_table, settings_count, settings);
}
