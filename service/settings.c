#include "service/settings.h"

#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "service/listen.h"

#include <string.h>
#include <unistd.h>

#define PREFIX "COMMAND_SERVICE_"

static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const log_formats[] = {"auto", "text", "json", NULL};

static int check_listen(const char *text, size_t size, struct error *err)
{
	struct listen_address address;
	(void)size;
	return listen_parse(text, &address, err);
}

/* Paths are appended to it, and it goes into JSON as it is. */
static int check_public_url(const char *text, size_t size, struct error *err)
{
	if (memchr(text, '?', size) || memchr(text, '#', size))
		return error_set(err, ERR_INVALID, "must have no query and no fragment");
	for (size_t i = 0; i < size; i++) {
		if (text[i] <= ' ' || text[i] >= 0x7F)
			return error_set(err, ERR_INVALID,
					 "must be ASCII: write other characters as %%XX");
	}
	return 0;
}

/* The first is the one that the `token` verbs take. */
static const struct setting table[] = {
    {.env = PREFIX "DB",
     .type = SETTING_TEXT,
     .offset = offsetof(struct service_settings, db),
     .fallback = "commands.db",
     .help = "database file; large answers lie in a folder beside it",
     .example = "/var/lib/command-service/commands.db"},
    {.env = PREFIX "LISTEN",
     .type = SETTING_TEXT,
     .offset = offsetof(struct service_settings, listen),
     .fallback = "127.0.0.1:8080",
     .check = check_listen,
     .help = "address and port to listen on; port 0 takes a free one",
     .example = "0.0.0.0:8080"},
    {.env = PREFIX "PORT_FILE",
     .type = SETTING_TEXT,
     .offset = offsetof(struct service_settings, port_file),
     .help = "file that gets the port number once connections are accepted",
     .example = "/run/command-service.port"},
    {.env = PREFIX "TLS_CERT",
     .type = SETTING_PATH,
     .offset = offsetof(struct service_settings, tls_cert),
     .help = "certificate chain (PEM): serves HTTPS, together with the key",
     .example = "/etc/command-service/cert.pem"},
    {.env = PREFIX "TLS_KEY",
     .type = SETTING_PATH,
     .offset = offsetof(struct service_settings, tls_key),
     .help = "private key (PEM) of the certificate",
     .example = "/etc/command-service/key.pem"},
    {.env = PREFIX "PUBLIC_URL",
     .type = SETTING_URL,
     .offset = offsetof(struct service_settings, public_url),
     .check = check_public_url,
     .help = "how clients reach this service, for the URLs it hands out; needed behind a "
	     "proxy that speaks TLS (otherwise: the Host header of each request)",
     .example = "https://commands.example.com"},
    {.env = PREFIX "MIN_TTL_SECONDS",
     .type = SETTING_INT,
     .offset = offsetof(struct service_settings, min_ttl_seconds),
     .fallback = "60",
     .min = 0,
     .max = 86400,
     .unit = "seconds",
     .help = "how far ahead the expiresAt of a new command must be"},
    {.env = PREFIX "MAX_ATTEMPTS",
     .type = SETTING_INT,
     .offset = offsetof(struct service_settings, max_attempts),
     .fallback = "5",
     .min = 1,
     .max = 100,
     .help = "deliveries after which a command that never gets an answer ends as ERROR"},
    {.env = PREFIX "RETENTION_DAYS",
     .type = SETTING_INT,
     .offset = offsetof(struct service_settings, retention_days),
     .fallback = "30",
     .min = 1,
     .max = 36500,
     .unit = "days",
     .help = "how long ended commands are kept"},
    {.env = PREFIX "MAX_UPLOAD_BYTES",
     .type = SETTING_INT,
     .offset = offsetof(struct service_settings, max_upload_bytes),
     .fallback = "1073741824",
     .min = 1048576,
     .max = INT64_C(1) << 40,
     .unit = "bytes",
     .help = "largest answer that an agent may upload, after decompression"},
    {.env = PREFIX "LOG_LEVEL",
     .type = SETTING_CHOICE,
     .offset = offsetof(struct service_settings, log_level),
     .fallback = "info",
     .choices = log_levels,
     .help = "what is logged; debug has a line for each request"},
    {.env = PREFIX "LOG_FORMAT",
     .type = SETTING_CHOICE,
     .offset = offsetof(struct service_settings, log_format),
     .fallback = "auto",
     .choices = log_formats,
     .help = "auto is text on a terminal and JSON otherwise"},
};

enum { TABLE_COUNT = sizeof table / sizeof *table };

static size_t table_count(bool only_db)
{
	return only_db ? 1 : TABLE_COUNT;
}

static void check_together(const struct service_settings *settings, struct problems *problems)
{
	if (settings->tls_cert && !settings->tls_key)
		problems_add(problems, PREFIX "TLS_KEY: missing: a certificate is given, so its "
					      "key is needed, for example --tls-key key.pem");
	if (settings->tls_key && !settings->tls_cert)
		problems_add(problems, PREFIX "TLS_CERT: missing: a key is given, so its "
					      "certificate is needed, for example --tls-cert "
					      "cert.pem");
}

void service_settings_load(struct service_settings *settings, bool only_db, int *argc, char **argv,
			   struct problems *problems)
{
	const char *values[TABLE_COUNT] = {0};
	struct config_source source = {
	    .table = table,
	    .count = table_count(only_db),
	    .flag_prefix = PREFIX,
	};
	*settings = (struct service_settings){0};
	config_take_flags(&source, argc, argv, values, problems);
	config_load(&source, values, NULL, settings, problems);
	check_together(settings, problems);
	if (settings->public_url) {
		size_t length = strlen(settings->public_url);
		while (length > 0 && settings->public_url[length - 1] == '/')
			settings->public_url[--length] = '\0';
	}
	bool is_json =
	    settings->log_format == 2 || (settings->log_format == 0 && !isatty(STDERR_FILENO));
	if (!only_db)
		log_setup((enum log_level)settings->log_level,
			  is_json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
}

void service_settings_release(struct service_settings *settings)
{
	config_release(table, TABLE_COUNT, settings);
}

void service_settings_help(bool only_db, struct buf *out)
{
	schema_help(table, table_count(only_db), PREFIX, out);
}
