#include "agent/loop_inside.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WATCHES_STEP = 64 };

/* libuv's view of one of curl's sockets. That of a connection stays registered when its request
 * ends, so that the next one needs no system call. That is safe only where libcurl says when it
 * closes the socket, or its number would come back and meet a stale watch. It says so
 * (on_close_socket) of a connection that it has asked to read from; not of one that it gives up
 * while it connects, of which it asks to write alone, nor of the resolver's socket pairs. */
struct watch {
	uv_poll_t handle;
	struct loop *loop;
	curl_socket_t socket;
	int events; /* registered: of UV_READABLE and UV_WRITABLE */
	bool is_internet;
	bool is_idle; /* a connection without a request */
};

static struct watch *watch_find(const struct loop *loop, curl_socket_t socket)
{
	return (size_t)socket < loop->watches_size ? loop->watches[socket] : NULL;
}

/* When this returns nothing of it is left in epoll or among the events that wait to be looked at:
 * the number may be used again. Only the memory stays until the turn ends. */
static void watch_close(struct watch *watch)
{
	watch->loop->watches[watch->socket] = NULL;
	uv_close((uv_handle_t *)&watch->handle, loop_free_handle);
}

/* Between two requests nothing comes but the end, perhaps with last words: a 408, TLS's notice.
 * While there are any to be read libcurl 7.88 takes the connection for alive, and after a reset
 * too; the next request would be lost on it, or answered with them. So they go, and it sees the
 * end. False: there was nothing. */
static bool take_end(curl_socket_t socket)
{
	char last_words[4096];
	if (recv(socket, last_words, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN)
		return false;
	shutdown(socket, SHUT_RDWR); /* after this a peer that goes on sending is reset */
	while (recv(socket, last_words, sizeof last_words, MSG_DONTWAIT) > 0)
		;
	return true;
}

static void on_socket_ready(uv_poll_t *handle, int status, int events)
{
	struct watch *watch = (struct watch *)handle;
	int action = 0;
	/* libcurl looks at a connection when it wants to use it again; until then epoll would tell
	 * its end again and again. */
	if (watch->is_idle) {
		if (take_end(watch->socket) || status < 0)
			watch_close(watch);
		return;
	}
	/* Told of an error, libcurl would only know that there was one; reading and writing
	 * tell it which. libuv stopped the watch. */
	if (status < 0) {
		watch->events = 0;
		action = CURL_CSELECT_IN | CURL_CSELECT_OUT;
	}
	if (events & UV_READABLE)
		action |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		action |= CURL_CSELECT_OUT;
	int running;
	curl_multi_socket_action(watch->loop->multi, watch->socket, action, &running);
}

static bool is_internet_socket(curl_socket_t socket)
{
	int domain = AF_UNSPEC;
	socklen_t size = sizeof domain;
	getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size);
	return domain == AF_INET || domain == AF_INET6;
}

static void make_room_for(struct loop *loop, curl_socket_t socket)
{
	size_t size = loop->watches_size;
	if ((size_t)socket < size)
		return;
	loop->watches_size = (size_t)socket + WATCHES_STEP;
	loop->watches =
	    mem_realloc_array(loop->watches, loop->watches_size, sizeof(struct watch *));
	while (size < loop->watches_size)
		loop->watches[size++] = NULL;
}

static struct watch *watch_new(struct loop *loop, curl_socket_t socket)
{
	struct watch *watch = mem_new(struct watch);
	watch->loop = loop;
	watch->socket = socket;
	watch->is_internet = is_internet_socket(socket);
	int rc = uv_poll_init_socket(&loop->uv, &watch->handle, socket);
	if (rc != 0) {
		log_error("cannot watch a socket: %s", uv_strerror(rc));
		free(watch);
		return NULL;
	}
	make_room_for(loop, socket);
	loop->watches[socket] = watch;
	return watch;
}

static void watch_start(struct watch *watch, int events)
{
	watch->is_idle = false;
	/* libuv would take it out of epoll and put it back. */
	if (watch->events == events)
		return;
	int rc = uv_poll_start(&watch->handle, events, on_socket_ready);
	if (rc != 0)
		log_error("cannot watch a socket: %s", uv_strerror(rc));
	watch->events = rc == 0 ? events : 0;
}

/* Idle it waits for what the next request will most likely wait for. */
static void watch_rest(struct watch *watch)
{
	if (watch->is_internet && watch->events == UV_READABLE)
		watch->is_idle = true;
	else
		watch_close(watch);
}

static int on_curl_wants_socket(CURL *easy, curl_socket_t socket, int what, void *context,
				void *socket_context)
{
	(void)easy;
	(void)socket_context;
	struct loop *loop = context;
	struct watch *watch = watch_find(loop, socket);
	if (what == CURL_POLL_REMOVE) {
		if (watch != NULL)
			watch_rest(watch);
		return 0;
	}
	/* Never -1: libcurl would give up all its transfers, for good. Without a watch this one
	 * runs into its timeout. */
	if (watch == NULL && (watch = watch_new(loop, socket)) == NULL)
		return 0;
	watch_start(watch, (what & CURL_POLL_IN ? UV_READABLE : 0) |
			       (what & CURL_POLL_OUT ? UV_WRITABLE : 0));
	return 0;
}

/* Also for connections that no transfer has any more: closed in libcurl's pool or with it. */
static int on_close_socket(void *context, curl_socket_t socket)
{
	struct loop *loop = context;
	struct watch *watch = watch_find(loop, socket);
	if (watch != NULL)
		watch_close(watch);
	return close(socket);
}

void loop_sockets_begin(struct loop *loop)
{
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, on_curl_wants_socket);
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
}

void loop_sockets_add(struct loop *loop, CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, loop);
}

void loop_sockets_end(struct loop *loop)
{
	free(loop->watches);
}
