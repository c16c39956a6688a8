#include "tests/bench/hub.h"

#include "tests/bench/say.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 64 };

/* What the two descriptors that are no connections are known by. */
static char listener_mark, input_mark;

static void watch(const struct hub *hub, int fd, void *mark)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = mark};
	if (epoll_ctl(hub->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		die("cannot watch a descriptor: %s", strerror(errno));
}

void hub_open(struct hub *hub, const char *certificate_file, const char *key_file)
{
	hub->tls = wire_tls_server(certificate_file, key_file);
	hub->epoll = epoll_create1(EPOLL_CLOEXEC);
	hub->listener = wire_listen(&hub->port);
	watch(hub, hub->listener, &listener_mark);
	watch(hub, STDIN_FILENO, &input_mark);
}

static void drop(struct hub *hub, struct wire *wire)
{
	hub->on_drop(hub->context, wire);
	wire_free(wire);
}

void hub_flush(struct hub *hub, struct wire *wire)
{
	if (wire_flush(wire) != 0)
		drop(hub, wire);
}

static void accept_all(struct hub *hub)
{
	int socket;
	while ((socket = accept4(hub->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		hub->connections++;
		wire_new(hub->epoll, socket, hub->tls, true);
	}
}

static void read_words(struct hub *hub)
{
	char line[64];
	ssize_t count = read(STDIN_FILENO, line, sizeof line - 1);
	if (count <= 0)
		exit(0);
	line[count] = '\0';
	hub->on_word(hub->context, line);
}

static void on_ready(struct hub *hub, struct wire *wire)
{
	if (wire_turn(wire) != 0) {
		drop(hub, wire);
		return;
	}
	while (wire_has_message(wire)) {
		hub->on_message(hub->context, wire);
		wire_next(wire);
	}
	hub_flush(hub, wire);
}

void hub_run(struct hub *hub)
{
	struct epoll_event events[EVENTS_MAX];
	for (;;) {
		int wait_ms = hub->on_turn(hub->context);
		int count = epoll_wait(hub->epoll, events, EVENTS_MAX, wait_ms);
		for (int i = 0; i < count; i++) {
			if (events[i].data.ptr == &listener_mark)
				accept_all(hub);
			else if (events[i].data.ptr == &input_mark)
				read_words(hub);
			else
				on_ready(hub, events[i].data.ptr);
		}
	}
}
