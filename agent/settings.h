/* The relay agent's settings: one struct, filled once at start from the table in
 * settings.c (config/config.h says how), read-only afterwards. */
#ifndef AGENT_SETTINGS_H
#define AGENT_SETTINGS_H

#include "base/problems.h"
#include "base/secret.h"
#include "config/schema.h"

#include <stdbool.h>
#include <stdint.h>

/* What a verb needs: bits for settings_load. */
enum settings_need {
	NEED_NOTHING = 0,
	NEED_SERVICE = 1 << 0, /* COMMAND_SERVICE_URL, AGENT_ID, ORG_SLUG, AUTH_TOKEN */
	NEED_KEY = 1 << 1,     /* SECURE_COMMAND_KEY */
};

/* What becomes of a command whose request was under way when the agent died. */
enum settings_on_interrupted {
	INTERRUPTED_FAIL,     /* what may be repeated is, the rest fails */
	INTERRUPTED_RETRY,    /* everything is run again */
	INTERRUPTED_FAIL_ALL, /* nothing is */
};

enum settings_journal_sync { JOURNAL_SYNC_FULL, JOURNAL_SYNC_NORMAL };

/* Which kind of service COMMAND_SERVICE_URL is. */
enum settings_transport { TRANSPORT_AUTO, TRANSPORT_HTTP, TRANSPORT_TDP };

/* When a message leaves the command queue: with the journal's entry, or with the answer. */
enum settings_sqs_ack { SQS_ACK_JOURNAL, SQS_ACK_DONE };

enum settings_log_format { SETTINGS_LOG_AUTO, SETTINGS_LOG_TEXT, SETTINGS_LOG_JSON };

struct settings {
	/* service */
	char *service_url; /* COMMAND_SERVICE_URL */
	char *agent_id;
	char *org_slug;
	struct secret token; /* AUTH_TOKEN */
	int transport;       /* enum settings_transport */
	int64_t poll_wait_seconds;
	/* crypto: key texts as given, already checked to be keys */
	struct secret key;
	struct secret previous_key;
	/* relay */
	int64_t max_in_flight;
	int64_t max_in_flight_per_host;
	int64_t request_timeout_ms;
	int64_t max_timeout_ms;
	int64_t max_response_bytes;
	int64_t max_redirects;
	int64_t drain_seconds;
	/* state */
	char *state_dir;
	int journal_sync;   /* enum settings_journal_sync */
	int on_interrupted; /* enum settings_on_interrupted */
	int sqs_ack;        /* enum settings_sqs_ack */
	int64_t dedupe_hours;
	int64_t result_retention_hours;
	int64_t journal_max_mb;
	/* tls */
	char *ca_file;
	char *client_cert_file;
	char *client_key_file;
	/* proxy */
	char *https_proxy;
	char *http_proxy;
	char *no_proxy;
	char *target_proxy;
	/* log */
	int log_level;  /* enum log_level */
	int log_format; /* enum settings_log_format */
};

extern const struct setting settings_table[];
extern const size_t settings_count;

/* The YAML file: --config, else RELAY_CONFIG, else /etc/relay-agent/relay.yaml where it
 * exists. Takes "--config" and the table's flags out of argv. Always leaves settings so
 * that settings_release may be called. */
void settings_load(struct settings *settings, unsigned needs, int *argc, char **argv,
		   struct problems *problems);
void settings_release(struct settings *settings);

#endif
