/* libmicrohttpd in the one loop. The loop waits on its epoll descriptor; everything runs in
 * turns: libmicrohttpd calls handlers, then what they wrote is committed once, then their
 * answers go out. */
#ifndef SERVICE_SERVER_H
#define SERVICE_SERVER_H

#include "base/error.h"
#include "service/peers.h"
#include "service/request.h"
#include "service/settings.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <uv.h>

TAILQ_HEAD(request_list, request);

struct server {
	struct service *service;
	struct MHD_Daemon *daemon;
	int listen_fd; /* -1 once the daemon has it, or it is closed */
	uint16_t port;
	char *tls_cert;
	char *tls_key;
	uv_poll_t poll;
	uv_timer_t timer;
	struct request_list requests; /* under way */
	struct request_list held;
	struct peers peers;
	uint64_t body_bytes;   /* in bodies that are kept in memory */
	uint64_t answer_bytes; /* in answers that are */
	bool is_stopping;
	bool in_turn;
	void (*on_drained)(struct server *server); /* stopping, and no request is left */
};

/* Listens and serves. */
NODISCARD int server_open(struct server *server, struct service *service, struct error *err);
/* Takes no new connections; open ones end with the request that is under way on them. */
void server_stop(struct server *server);
/* Runs handlers and sends answers until there is nothing to do at once. */
void server_turn(struct server *server);
/* Ends all connections. The loop must still run once more for its handles. */
void server_close(struct server *server);

#endif
