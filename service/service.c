#include "service/service.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "config/config.h"
#include "service/receive.h"
#include "service/spool.h"
#include "service/tokens.h"

#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

enum {
	PATIENCE_MS = 5000, /* for requests under way when the service stops */
	DUE_MAX = 500,      /* commands looked after at once */
	DUE_EVERY_MS = 100,
	MORE_AFTER_MS = 10, /* others are served in between */
	FORGET_MAX = 200,
	FORGET_AGAIN_MS = 50,
	FORGET_EVERY_MS = 3600 * 1000,
	RETRY_MS = 1000,
	NOTE_EVERY_MS = 60 * 1000,
	DAY_MS = 24 * 3600 * 1000,
};

void service_note_storage(struct service *service, const struct error *err)
{
	int64_t now_ms = clock_monotonic_ms();
	if (!err) {
		if (service->is_failure_noted)
			log_info("storage works again");
		service->is_failure_noted = false;
		return;
	}
	if (service->storage_noted_ms > 0 && now_ms - service->storage_noted_ms < NOTE_EVERY_MS)
		return;
	service->is_failure_noted = true;
	service->storage_noted_ms = now_ms;
	log_error("storage fails, requests get 503 until it works again: %s", err->message);
}

/* ---- Lives and leases that end */

static void on_due(struct alarm_entry *entry)
{
	struct service *service = (struct service *)((char *)entry - offsetof(struct service, due));
	struct error err;
	int64_t next_ms = 0;
	int64_t now_ms = clock_now_ms();
	if (store_run_due(service->store, now_ms, service->settings->max_attempts, DUE_MAX,
			  &next_ms, &err) < 0) {
		service_note_storage(service, &err);
		next_ms = now_ms + RETRY_MS;
	}
	if (next_ms > 0)
		service_note_due(service,
				 next_ms > now_ms + DUE_EVERY_MS ? next_ms : now_ms + DUE_EVERY_MS);
}

/* Dates are Unix time, alarms are monotonic; a clock that is set is noticed at the latest
 * after an hour. */
void service_note_due(struct service *service, int64_t at_ms)
{
	int64_t in_ms = at_ms - clock_now_ms();
	int64_t monotonic_ms = clock_monotonic_ms();
	if (in_ms < 0)
		in_ms = 0;
	if (in_ms > FORGET_EVERY_MS)
		in_ms = FORGET_EVERY_MS;
	if (service->due.at_ms == 0 || monotonic_ms + in_ms < service->due.at_ms)
		alarm_set(&service->alarms, &service->due, monotonic_ms + in_ms, on_due);
}

static void on_more(struct alarm_entry *entry)
{
	struct service *service =
	    (struct service *)((char *)entry - offsetof(struct service, more));
	waiters_go_on(&service->waiters);
}

void service_note_more(struct service *service, const char *org, const char *target)
{
	waiters_on_more(&service->waiters, org, target);
	if (service->more.at_ms == 0)
		alarm_set(&service->alarms, &service->more, clock_monotonic_ms() + MORE_AFTER_MS,
			  on_more);
}

/* ---- Retention */

/* The files go when nothing is left to forget: by then the rows are gone for good. */
static void on_forget(struct alarm_entry *entry)
{
	struct service *service =
	    (struct service *)((char *)entry - offsetof(struct service, forget));
	size_t count = 0;
	struct error err;
	int64_t now_ms = clock_now_ms();
	int64_t cutoff_ms = now_ms - service->settings->retention_days * DAY_MS;
	int rc = store_forget(service->store, now_ms, cutoff_ms, FORGET_MAX,
			      &service->has_old_answers, &count, &err);
	if (rc < 0)
		service_note_storage(service, &err);
	if (rc == 0 && count == 0 && service->has_old_answers) {
		spool_clean(service->store, false);
		service->has_old_answers = false;
	}
	int64_t in_ms = rc == 0 && count > 0 ? FORGET_AGAIN_MS : FORGET_EVERY_MS;
	alarm_set(&service->alarms, &service->forget, clock_monotonic_ms() + in_ms, on_forget);
}

/* ---- Stopping */

static void on_drained(struct server *server)
{
	uv_stop(&server->service->loop);
}

static void on_patience_over(struct alarm_entry *entry)
{
	struct service *service =
	    (struct service *)((char *)entry - offsetof(struct service, patience));
	log_warn("stopping with requests under way: they took longer than %d seconds",
		 PATIENCE_MS / 1000);
	uv_stop(&service->loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct service *service = handle->data;
	if (service->server.is_stopping) {
		uv_stop(&service->loop);
		return;
	}
	log_info("stopping on %s", number == SIGTERM ? "SIGTERM" : "SIGINT");
	server_stop(&service->server);
	alarm_set(&service->alarms, &service->patience, clock_monotonic_ms() + PATIENCE_MS,
		  on_patience_over);
	waiters_end(&service->waiters, receive_end_empty);
	server_turn(&service->server);
}

/* ---- Starting */

static void on_pending(void *context, const char *org, const char *target)
{
	struct service *service = context;
	waiters_on_pending(&service->waiters, org, target);
}

static void on_end(void *context, int64_t seq)
{
	struct service *service = context;
	waiters_on_end(&service->waiters, seq);
}

static void on_alarms_fired(void *context)
{
	struct service *service = context;
	server_turn(&service->server);
}

static void watch_signals(struct service *service)
{
	static const int numbers[2] = {SIGTERM, SIGINT};
	/* A client that goes away, and a file that may not grow, are errors of a call. */
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	(void)sigaction(SIGPIPE, &ignore, NULL); /* cannot fail for these */
	(void)sigaction(SIGXFSZ, &ignore, NULL);
	for (size_t i = 0; i < 2; i++) {
		(void)uv_signal_init(&service->loop, &service->signals[i]); /* always 0 */
		service->signals[i].data = service;
		int rc = uv_signal_start(&service->signals[i], on_signal, numbers[i]);
		if (rc < 0)
			log_warn("signal %d is not watched: %s", numbers[i], uv_strerror(rc));
	}
}

static void watch_time(struct service *service)
{
	struct error err;
	int64_t next_ms = 0;
	int64_t now_ms = clock_monotonic_ms();
	if (store_next_due(service->store, &next_ms, &err) < 0)
		service_note_storage(service, &err);
	else if (next_ms > 0)
		service_note_due(service, next_ms);
	alarm_set(&service->alarms, &service->forget, now_ms + FORGET_AGAIN_MS, on_forget);
}

static int open_service(struct service *service, struct error *err)
{
	struct store_observer observer = {service, on_pending, on_end};
	int rc = store_open(&service->store, service->settings->db, STORE_SERVE, err);
	if (rc < 0)
		return rc;
	store_observe(service->store, &observer);
	spool_clean(service->store, true);
	rc = server_open(&service->server, service, err);
	service->server.on_drained = on_drained;
	return rc;
}

static int write_port(const struct service *service, struct error *err)
{
	char text[16];
	if (!service->settings->port_file)
		return 0;
	(void)snprintf(text, sizeof text, "%u\n", (unsigned)service->server.port);
	return file_write_atomic(service->settings->port_file, text, strlen(text), 0644, err);
}

/* ---- --dev */

static void count_token(void *context, const struct token *token)
{
	(void)token;
	(*(size_t *)context)++;
}

/* How this machine reaches the service: an address that stands for all of them is none to
 * connect to. */
static void append_url(const struct service *service, struct buf *out)
{
	const char *listen = service->settings->listen;
	size_t length = (size_t)(strrchr(listen, ':') - listen);
	const char *scheme = service->settings->tls_cert ? "https" : "http";
	if (str_has_prefix(listen, "0.0.0.0:"))
		(void)buf_printf(out, "%s://127.0.0.1", scheme);
	else if (str_has_prefix(listen, "[::]:"))
		(void)buf_printf(out, "%s://[::1]", scheme);
	else
		(void)buf_printf(out, "%s://%.*s", scheme, (int)length, listen);
	(void)buf_printf(out, ":%u", (unsigned)service->server.port);
}

static void print_dev(const struct service *service, const char *agent,
		      const struct secret *requestor_token, const struct secret *agent_token)
{
	struct buf url = BUF_INIT(1024);
	append_url(service, &url);
	(void)printf("# An organisation, an agent and their tokens, for trying out. In another "
		     "shell:\n"
		     "export COMMAND_SERVICE_URL=%s ORG_SLUG=dev AGENT_ID=%s\n"
		     "# the agent:\n"
		     "AUTH_TOKEN=%s relay-agent run\n"
		     "# a requestor:\n"
		     "AUTH_TOKEN=%s relay-agent send %s/healthz\n",
		     buf_str(&url), agent, agent_token->bytes, requestor_token->bytes,
		     buf_str(&url));
	(void)fflush(stdout); /* without a reader nobody misses it */
	buf_release(&url);
}

static int make_dev(struct service *service, struct error *err)
{
	char agent[UUID_TEXT_SIZE];
	struct secret requestor_token = {0};
	struct secret agent_token = {0};
	size_t count = 0;
	int rc = store_token_each(service->store, count_token, &count, err);
	if (rc < 0)
		return rc;
	if (count > 0) {
		log_info("--dev: the database has tokens already, none were made; "
			 "`command-service token create` makes more");
		return 0;
	}
	random_uuid(agent);
	rc = token_create(service->store, ROLE_REQUESTOR, "dev", NULL, &requestor_token, err);
	if (rc == 0)
		rc = token_create(service->store, ROLE_AGENT, "dev", agent, &agent_token, err);
	if (rc == 0)
		print_dev(service, agent, &requestor_token, &agent_token);
	secret_release(&requestor_token);
	secret_release(&agent_token);
	return rc;
}

/* ---- Running */

static void close_handles(struct service *service)
{
	server_close(&service->server);
	uv_close((uv_handle_t *)&service->alarms.timer, NULL);
	for (size_t i = 0; i < 2; i++)
		uv_close((uv_handle_t *)&service->signals[i], NULL);
	(void)uv_run(&service->loop, UV_RUN_DEFAULT); /* until all are closed */
	(void)uv_loop_close(&service->loop);          /* nothing is open on it any more */
}

static int serve(struct service *service, bool is_dev, struct error *err)
{
	int rc = open_service(service, err);
	if (rc == 0 && is_dev)
		rc = make_dev(service, err);
	if (rc == 0)
		rc = write_port(service, err);
	if (rc < 0)
		return rc;
	watch_time(service);
	log_info("listening on %s, port %u, database %s", service->settings->listen,
		 (unsigned)service->server.port, service->settings->db);
	server_turn(&service->server);
	(void)uv_run(&service->loop, UV_RUN_DEFAULT); /* until uv_stop() */
	return 0;
}

int service_run(const struct service_settings *settings, bool is_dev)
{
	struct service *service = mem_new(struct service);
	struct error err;
	(void)prctl(PR_SET_DUMPABLE, 0); /* tokens pass through: no core dumps */
	service->settings = settings;
	(void)uv_loop_init(&service->loop); /* fails only without descriptors: later too */
	alarms_init(&service->alarms, &service->loop, on_alarms_fired, service);
	waiters_init(&service->waiters);
	watch_signals(service);
	int rc = serve(service, is_dev, &err);
	if (rc < 0)
		log_error("%s", err.message);
	close_handles(service);
	if (service->store && store_commit(service->store, &err) < 0)
		service_note_storage(service, &err); /* deliveries that were taken back */
	store_close(service->store);
	free(service);
	if (rc == 0)
		log_info("stopped");
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
