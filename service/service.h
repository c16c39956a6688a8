/* The whole service: one struct, made in serve.c and handed down. */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include "service/alarm.h"
#include "service/auth.h"
#include "service/server.h"
#include "service/settings.h"
#include "service/store.h"
#include "service/waiters.h"

#include <stdbool.h>
#include <uv.h>

struct service {
	const struct service_settings *settings;
	struct store *store;
	uv_loop_t loop;
	struct alarms alarms;
	struct server server;
	struct guard guard;
	struct waiters waiters;
	uv_signal_t signals[2];
	struct alarm_entry due;      /* lives and leases that end */
	struct alarm_entry more;     /* queues that were looked through in part */
	struct alarm_entry forget;   /* ended commands that are too old */
	struct alarm_entry patience; /* stopping: requests under way have until then */
	bool has_old_answers;        /* files of commands that were forgotten */
	bool is_failure_noted;       /* and not yet that storage works again */
	int64_t storage_noted_ms;
};

/* Serves until a signal; the exit status. */
int service_run(const struct service_settings *settings, bool is_dev);

/* A failure of the store, or none (err NULL). Logs both, but not more than once a minute. */
void service_note_storage(struct service *service, const struct error *err);
/* Something is due at that time (Unix milliseconds). */
void service_note_due(struct service *service, int64_t at_ms);
/* This queue was looked through in part: who waits for it is served again soon. */
void service_note_more(struct service *service, const char *org, const char *target);

#endif
