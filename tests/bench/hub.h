/* A server's connections: accepts them on a free port, turns them, hands out whole messages.
 * Also hears words on standard input, at whose end the process ends, so that it never outlives
 * its driver. */
#ifndef BENCH_HUB_H
#define BENCH_HUB_H

#include "tests/bench/wire.h"

#include <stddef.h>
#include <stdint.h>

struct hub {
	void (*on_message)(void *context, struct wire *wire);
	/* The connection is about to be freed. */
	void (*on_drop)(void *context, struct wire *wire);
	void (*on_word)(void *context, const char *line);
	/* After each turn: milliseconds until the next one is wanted, -1: none. */
	int (*on_turn)(void *context);
	void *context;
	size_t connections; /* accepted so far */
	int port;
	int epoll, listener;
	SSL_CTX *tls;
};

/* The callbacks and the context are the caller's to set before. */
void hub_open(struct hub *hub, const char *certificate_file, const char *key_file);
/* Never returns. */
void hub_run(struct hub *hub) __attribute__((noreturn));
/* Sends what was put; a connection that has ended is dropped. */
void hub_flush(struct hub *hub, struct wire *wire);

#endif
