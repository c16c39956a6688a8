/* One HTTP/1.1 connection of a measuring program, plain or TLS, on a non-blocking socket that
 * it owns and watches with the given epoll. It costs as little as can be, because its
 * processor time is taken from what is measured: no headers are kept, one message at a time,
 * and the body of a PUT is counted and dropped. */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include "base/buf.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_state {
	WIRE_HEAD,
	WIRE_BODY,
	WIRE_CHUNK_LINE,
	WIRE_CHUNK,
	WIRE_CHUNK_END,
	WIRE_TRAILER,
	WIRE_WHOLE, /* a message is there; wire_next() goes on */
};

struct wire {
	int epoll;
	int socket;
	SSL *tls; /* NULL: plain */
	bool is_server;
	bool wants_write; /* epoll was asked for EPOLLOUT */
	uint32_t read_events;
	struct buf out;
	size_t out_sent;
	struct buf rest; /* what was read behind a whole message */
	/* The message */
	enum wire_state state;
	struct buf head; /* request or status line and headers */
	struct buf body;
	size_t body_bytes; /* counted where it is dropped, too */
	size_t left;       /* of the body or chunk */
	void *context;     /* the owner's */
};

/* Takes the socket. tls may be NULL. */
struct wire *wire_new(int epoll, int socket, SSL_CTX *tls, bool is_server);
void wire_free(struct wire *wire);
/* Reads and writes what goes now; -1: the connection has ended. */
NODISCARD int wire_turn(struct wire *wire);
bool wire_has_message(const struct wire *wire);
/* Ends the message that is there and reads on with what came behind it. */
void wire_next(struct wire *wire);
/* True when the message's first line begins with these words. */
bool wire_begins(const struct wire *wire, const char *words);
/* The status of an answer. */
int wire_status(const struct wire *wire);
/* Queues the bytes; wire_turn() or wire_flush() sends them. */
void wire_put(struct wire *wire, const void *bytes, size_t size);
NODISCARD int wire_flush(struct wire *wire);
/* An answer or a request with a JSON body. line: "HTTP/1.1 200 OK", "POST / HTTP/1.1". */
void wire_put_message(struct wire *wire, const char *line, const void *body, size_t size);

/* A listening socket on a free port of 127.0.0.1; ends the process when there is none. */
int wire_listen(int *port);
/* A connected one. */
int wire_connect(int port);
/* Contexts; end the process on failure. The client's verifies nothing: it measures. */
SSL_CTX *wire_tls_server(const char *certificate_file, const char *key_file);
SSL_CTX *wire_tls_client(void);

#endif
