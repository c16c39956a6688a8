/* The settings of `serve`: one struct, filled once at start from the table in settings.c
 * (config/config.h says how), read-only afterwards. */
#ifndef SERVICE_SETTINGS_H
#define SERVICE_SETTINGS_H

#include "base/buf.h"
#include "base/problems.h"

#include <stdbool.h>
#include <stdint.h>

struct service_settings {
	char *db;
	char *listen;
	char *port_file; /* NULL: none */
	char *tls_cert;  /* both or none */
	char *tls_key;
	char *public_url; /* without a '/' at its end; NULL: what the request's Host says */
	int64_t min_ttl_seconds;
	int64_t max_attempts;
	int64_t retention_days;
	int64_t max_upload_bytes;
	int log_level;  /* enum log_level */
	int log_format; /* 0 auto, 1 text, 2 json */
};

/* Takes the flags out of argv. In every case service_settings_release() may be called after it.
 * only_db: the settings of the `token` verbs, which need the database alone. */
void service_settings_load(struct service_settings *settings, bool only_db, int *argc, char **argv,
			   struct problems *problems);
void service_settings_release(struct service_settings *settings);
void service_settings_help(bool only_db, struct buf *out);

#endif
