#include "service/server.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "service/exchange.h"
#include "service/listen.h"
#include "service/receive.h"
#include "service/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	CONNECTION_MEMORY = 32 * 1024, /* of libmicrohttpd: headers, and a piece of a body */
	CONNECTIONS_MAX = 8192,
	FILES_BESIDE = 64,    /* descriptors for other things than connections */
	SILENCE_SECONDS = 60, /* a connection that sends and takes nothing is closed */
	ROUNDS_MAX = 8,       /* of a turn, before the loop looks at other things */
	PEM_MAX = 1024 * 1024,
	RETRY_MS = 1000,
};

/* ---- Turns */

static void fail_held(struct request *request, const struct error *err)
{
	request_unanswer(request);
	request_fail_store(request, err);
}

/* Commits what was written, and lets the answers go that waited for it. False when there was
 * nothing to do. */
static bool end_turn(struct server *server)
{
	struct service *service = server->service;
	struct error err;
	struct request *request;
	receive_serve_waiting(service);
	if (!store_in_turn(service->store))
		return false;
	int rc = store_commit(service->store, &err);
	service_note_storage(service, rc < 0 ? &err : NULL);
	while ((request = TAILQ_FIRST(&server->held))) {
		TAILQ_REMOVE(&server->held, request, held_link);
		if (rc < 0)
			fail_held(request, &err);
		request_set_phase(request, REQUEST_READY);
		MHD_resume_connection(request->connection);
	}
	waiters_settle(&service->waiters, rc == 0);
	if (rc < 0) /* what time demanded may have been in it */
		service_note_due(service, clock_now_ms() + RETRY_MS);
	return true;
}

static void on_timer(uv_timer_t *timer)
{
	server_turn(timer->data);
}

static void schedule(struct server *server)
{
	MHD_UNSIGNED_LONG_LONG in_ms = 0;
	if (MHD_get_timeout(server->daemon, &in_ms) == MHD_YES) {
		uv_update_time(&server->service->loop); /* what ran until now took its time */
		(void)uv_timer_start(&server->timer, on_timer, in_ms, 0); /* fails when closing */
	} else {
		(void)uv_timer_stop(&server->timer); /* always 0 */
	}
}

void server_turn(struct server *server)
{
	if (!server->daemon || server->in_turn)
		return;
	server->in_turn = true;
	(void)end_turn(server); /* what was written outside of requests */
	for (int round = 0; round < ROUNDS_MAX; round++) {
		(void)MHD_run(server->daemon); /* its failures are those of connections */
		if (!end_turn(server))
			break;
	}
	server->in_turn = false;
	schedule(server);
	if (server->is_stopping && server->on_drained && TAILQ_EMPTY(&server->requests))
		server->on_drained(server);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	server_turn(poll->data);
}

/* ---- Life */

static void on_log(void *context, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void on_log(void *context, const char *format, va_list args)
{
	struct buf line = BUF_INIT(1024);
	(void)context;
	if (log_enabled(LOG_LEVEL_DEBUG) && buf_vprintf(&line, format, args) == 0)
		log_debug("http: %.*s", (int)strcspn(buf_str(&line), "\n"), buf_str(&line));
	buf_release(&line);
}

/* As many connections as there may be descriptors. */
static unsigned raise_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024 - FILES_BESIDE;
	rlim_t wanted = CONNECTIONS_MAX + FILES_BESIDE;
	if (limit.rlim_cur < wanted) {
		limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* then with fewer */
		(void)getrlimit(RLIMIT_NOFILE, &limit); /* did not fail before */
	}
	if (limit.rlim_cur >= wanted)
		return CONNECTIONS_MAX;
	return limit.rlim_cur > 2 * FILES_BESIDE ? (unsigned)limit.rlim_cur - FILES_BESIDE
						 : FILES_BESIDE;
}

static int read_pem(const char *path, char **text, struct error *err)
{
	struct buf pem = BUF_INIT(PEM_MAX);
	int rc = file_read(path, &pem, err);
	if (rc == 0)
		*text = buf_detach(&pem, NULL);
	buf_release(&pem);
	return rc;
}

static int start_daemon(struct server *server, struct error *err)
{
	unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
	struct MHD_OptionItem tls[] = {
	    {MHD_OPTION_HTTPS_MEM_CERT, 0, server->tls_cert},
	    {MHD_OPTION_HTTPS_MEM_KEY, 0, server->tls_key},
	    {MHD_OPTION_HTTPS_PRIORITIES, 0,
	     (void *)(uintptr_t) "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
	    {MHD_OPTION_END, 0, NULL},
	};
	struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
	if (server->tls_cert)
		flags |= MHD_USE_TLS;
	server->daemon = MHD_start_daemon(
	    flags, 0, NULL, NULL, exchange_on_access, server, MHD_OPTION_EXTERNAL_LOGGER, on_log,
	    server, MHD_OPTION_LISTEN_SOCKET, server->listen_fd, MHD_OPTION_NOTIFY_COMPLETED,
	    exchange_on_completed, server, MHD_OPTION_NOTIFY_CONNECTION, exchange_on_connection,
	    server, MHD_OPTION_URI_LOG_CALLBACK, exchange_on_uri, server,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
	    MHD_OPTION_CONNECTION_LIMIT, raise_limit(), MHD_OPTION_CONNECTION_TIMEOUT,
	    (unsigned)SILENCE_SECONDS, MHD_OPTION_ARRAY, server->tls_cert ? tls : none,
	    MHD_OPTION_END);
	if (server->daemon) {
		server->listen_fd = -1; /* the daemon closes it */
		return 0;
	}
	if (server->tls_cert)
		return error_set(err, ERR_INVALID,
				 "HTTPS cannot be served with this certificate and key: both must "
				 "be PEM, and belong together (--tls-cert, --tls-key)");
	return error_set(err, ERR_SYSTEM, "the HTTP server cannot be started");
}

static int watch(struct server *server, struct error *err)
{
	uv_loop_t *loop = &server->service->loop;
	const union MHD_DaemonInfo *info =
	    MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	int rc = info ? uv_poll_init(loop, &server->poll, info->epoll_fd) : UV_EINVAL;
	if (rc == 0)
		rc = uv_poll_start(&server->poll, UV_READABLE, on_poll);
	if (rc < 0)
		return error_set(err, ERR_SYSTEM, "the HTTP server cannot be watched: %s",
				 uv_strerror(rc));
	return 0;
}

int server_open(struct server *server, struct service *service, struct error *err)
{
	const struct service_settings *settings = service->settings;
	*server = (struct server){.service = service, .listen_fd = -1};
	TAILQ_INIT(&server->requests);
	TAILQ_INIT(&server->held);
	peers_init(&server->peers, &service->alarms);
	(void)uv_timer_init(&service->loop, &server->timer); /* always 0 */
	server->timer.data = server;
	server->poll.data = server;
	int rc = 0;
	if (settings->tls_cert)
		rc = read_pem(settings->tls_cert, &server->tls_cert, err);
	if (rc == 0 && settings->tls_key)
		rc = read_pem(settings->tls_key, &server->tls_key, err);
	if (rc == 0)
		rc = listen_open(settings->listen, &server->listen_fd, &server->port, err);
	if (rc == 0)
		rc = start_daemon(server, err);
	if (rc == 0)
		rc = watch(server, err);
	return rc;
}

void server_stop(struct server *server)
{
	server->is_stopping = true;
	int fd = MHD_quiesce_daemon(server->daemon);
	if (fd >= 0)
		(void)close(fd); /* a socket that only listened */
}

/* libmicrohttpd cannot be stopped while a connection is suspended. */
static void wake_everybody(struct server *server)
{
	struct request *request;
	TAILQ_FOREACH(request, &server->requests, link)
	{
		if (request->phase != REQUEST_WAITING)
			continue;
		if (!request->response)
			request_fail(request, MHD_HTTP_SERVICE_UNAVAILABLE,
				     "the service is stopping: try again later");
		request_wake(request);
	}
}

void server_close(struct server *server)
{
	server->on_drained = NULL;
	if (server->daemon && server->poll.loop)
		(void)uv_poll_stop(&server->poll); /* before its descriptor is closed */
	if (server->daemon) {
		wake_everybody(server);
		server_turn(server);
		MHD_stop_daemon(server->daemon);
		server->daemon = NULL;
	}
	if (server->listen_fd >= 0)
		(void)close(server->listen_fd); /* a socket that only listened */
	server->listen_fd = -1;
	if (server->poll.loop)
		uv_close((uv_handle_t *)&server->poll, NULL);
	if (server->timer.loop)
		uv_close((uv_handle_t *)&server->timer, NULL);
	free(server->tls_cert);
	if (server->tls_key)
		secret_wipe(server->tls_key, strlen(server->tls_key));
	free(server->tls_key);
	server->tls_cert = server->tls_key = NULL;
}
