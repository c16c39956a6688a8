#include "tests/bench/wire.h"

#include "base/mem.h"
#include "tests/bench/say.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	HEAD_MAX = 64 * 1024,
	BODY_MAX = 64 * 1024 * 1024,
	READ_BYTES = 64 * 1024,
	RECORD_BYTES = 16 * 1024, /* of TLS; OpenSSL hands out one at a time */
	READS_A_TURN = 4,         /* then the others have their turn */
};

static void make_nonblocking(int socket)
{
	int on = 1;
	if (fcntl(socket, F_SETFL, O_NONBLOCK) != 0 ||
	    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
		die("cannot set up a socket: %s", strerror(errno));
}

struct wire *wire_new(int epoll, int socket, SSL_CTX *tls, bool is_server)
{
	struct wire *wire = mem_new(struct wire);
	wire->epoll = epoll;
	wire->socket = socket;
	wire->is_server = is_server;
	wire->out = BUF_INIT(BODY_MAX);
	wire->rest = BUF_INIT(BODY_MAX);
	wire->head = BUF_INIT(HEAD_MAX);
	wire->body = BUF_INIT(BODY_MAX);
	make_nonblocking(socket);
	if (tls != NULL) {
		wire->tls = SSL_new(tls);
		if (wire->tls == NULL || SSL_set_fd(wire->tls, socket) != 1)
			die("cannot begin TLS");
		if (is_server)
			SSL_set_accept_state(wire->tls);
		else
			SSL_set_connect_state(wire->tls);
	}
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = wire};
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) != 0)
		die("cannot watch a socket: %s", strerror(errno));
	return wire;
}

void wire_free(struct wire *wire)
{
	if (wire == NULL)
		return;
	SSL_free(wire->tls);
	close(wire->socket);
	buf_release(&wire->out);
	buf_release(&wire->rest);
	buf_release(&wire->head);
	buf_release(&wire->body);
	free(wire);
}

/* The value of a header, or NULL. The head ends with an empty line. */
static const char *header(const struct wire *wire, const char *name)
{
	size_t length = strlen(name);
	for (const char *line = strchr(wire->head.data, '\n'); line != NULL;
	     line = strchr(line, '\n')) {
		line++;
		if (strncasecmp(line, name, length) == 0 && line[length] == ':')
			return line + length + 1 + strspn(line + length + 1, " ");
	}
	return NULL;
}

static void begin_body(struct wire *wire)
{
	const char *length = header(wire, "content-length");
	const char *encoding = header(wire, "transfer-encoding");
	wire->body_bytes = 0;
	if (header(wire, "expect") != NULL)
		wire_put(wire, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	if (encoding != NULL && strncasecmp(encoding, "chunked", 7) == 0) {
		wire->state = WIRE_CHUNK_LINE;
		return;
	}
	wire->left = length != NULL ? strtoull(length, NULL, 10) : 0;
	wire->state = wire->left > 0 ? WIRE_BODY : WIRE_WHOLE;
}

/* Each of these takes what belongs to the state and returns how much that was. */

static size_t feed_head(struct wire *wire, const char *bytes, size_t size)
{
	size_t before = wire->head.size;
	size_t from = before > 3 ? before - 3 : 0;
	if (buf_append(&wire->head, bytes, size) != 0)
		die("a head of more than %d bytes", HEAD_MAX);
	const char *end = memmem(wire->head.data + from, wire->head.size - from, "\r\n\r\n", 4);
	if (end == NULL)
		return size;
	size_t taken = (size_t)(end + 4 - wire->head.data);
	buf_truncate(&wire->head, taken);
	begin_body(wire);
	return taken - before;
}

static size_t feed_body(struct wire *wire, const char *bytes, size_t size, enum wire_state next)
{
	size_t taken = size < wire->left ? size : wire->left;
	wire->left -= taken;
	wire->body_bytes += taken;
	if (!wire_begins(wire, "PUT ") && buf_append(&wire->body, bytes, taken) != 0)
		die("a body of more than %d bytes", BODY_MAX);
	if (wire->left == 0)
		wire->state = next;
	return taken;
}

/* A chunk's line is collected behind the head, which nobody reads any more. */
static size_t feed_line(struct wire *wire, const char *bytes, size_t size)
{
	const char *end = memchr(bytes, '\n', size);
	size_t taken = end != NULL ? (size_t)(end - bytes) + 1 : size;
	if (buf_append(&wire->head, bytes, taken) != 0)
		die("chunks with too much around them");
	if (end == NULL)
		return taken;
	size_t line = wire->head.size - 1;
	while (line > 0 && wire->head.data[line - 1] != '\n')
		line--;
	if (wire->state == WIRE_TRAILER) {
		if (wire->head.data[line] == '\r' || wire->head.data[line] == '\n')
			wire->state = WIRE_WHOLE;
		return taken;
	}
	wire->left = strtoull(wire->head.data + line, NULL, 16);
	wire->state = wire->left > 0 ? WIRE_CHUNK : WIRE_TRAILER;
	buf_truncate(&wire->head, line);
	return taken;
}

static size_t feed_chunk_end(struct wire *wire, const char *bytes, size_t size)
{
	const char *end = memchr(bytes, '\n', size);
	if (end == NULL)
		return size;
	wire->state = WIRE_CHUNK_LINE;
	return (size_t)(end - bytes) + 1;
}

static size_t feed_some(struct wire *wire, const char *bytes, size_t size)
{
	switch (wire->state) {
	case WIRE_HEAD:
		return feed_head(wire, bytes, size);
	case WIRE_BODY:
		return feed_body(wire, bytes, size, WIRE_WHOLE);
	case WIRE_CHUNK:
		return feed_body(wire, bytes, size, WIRE_CHUNK_END);
	case WIRE_CHUNK_LINE:
	case WIRE_TRAILER:
		return feed_line(wire, bytes, size);
	case WIRE_CHUNK_END:
		return feed_chunk_end(wire, bytes, size);
	case WIRE_WHOLE:
		break;
	}
	buf_append(&wire->rest, bytes, size);
	return size;
}

static void feed(struct wire *wire, const char *bytes, size_t size)
{
	while (size > 0) {
		size_t taken = feed_some(wire, bytes, size);
		bytes += taken;
		size -= taken;
	}
}

bool wire_has_message(const struct wire *wire)
{
	return wire->state == WIRE_WHOLE;
}

void wire_next(struct wire *wire)
{
	buf_reset(&wire->head);
	buf_reset(&wire->body);
	wire->state = WIRE_HEAD;
	if (wire->rest.size == 0)
		return;
	size_t size;
	char *rest = buf_detach(&wire->rest, &size);
	feed(wire, rest, size);
	free(rest);
}

bool wire_begins(const struct wire *wire, const char *words)
{
	return strncmp(buf_str(&wire->head), words, strlen(words)) == 0;
}

int wire_status(const struct wire *wire)
{
	return wire->head.size > 12 ? (int)strtol(wire->head.data + 9, NULL, 10) : 0;
}

/* 1: bytes; 0: not now; -1: the end. TLS that wants to write in order to read is left to the
 * next turn: this only happens in handshakes, whose answers fit into any socket's buffer. */
static int result_of(const struct wire *wire, ssize_t count)
{
	if (count > 0)
		return 1;
	if (wire->tls == NULL)
		return count < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
	int error = SSL_get_error(wire->tls, (int)count);
	ERR_clear_error();
	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static int read_some(struct wire *wire)
{
	static char bytes[READ_BYTES];
	for (int i = 0; i < READS_A_TURN; i++) {
		ssize_t count = wire->tls != NULL ? SSL_read(wire->tls, bytes, sizeof bytes)
						  : recv(wire->socket, bytes, sizeof bytes, 0);
		int rc = result_of(wire, count);
		if (rc <= 0)
			return rc;
		feed(wire, bytes, (size_t)count);
		/* What comes in small pieces has come whole: asking again would cost a call. */
		if ((size_t)count < (wire->tls != NULL ? (size_t)RECORD_BYTES : sizeof bytes))
			return 0;
	}
	return 0;
}

static void watch(struct wire *wire, bool wants_write)
{
	if (wire->wants_write == wants_write)
		return;
	struct epoll_event event = {.events = EPOLLIN | (wants_write ? (uint32_t)EPOLLOUT : 0),
				    .data.ptr = wire};
	if (epoll_ctl(wire->epoll, EPOLL_CTL_MOD, wire->socket, &event) != 0)
		die("cannot watch a socket: %s", strerror(errno));
	wire->wants_write = wants_write;
}

int wire_flush(struct wire *wire)
{
	while (wire->out_sent < wire->out.size) {
		const char *bytes = wire->out.data + wire->out_sent;
		size_t size = wire->out.size - wire->out_sent;
		ssize_t count =
		    wire->tls != NULL
			? SSL_write(wire->tls, bytes, size > INT32_MAX ? INT32_MAX : (int)size)
			: send(wire->socket, bytes, size, MSG_NOSIGNAL);
		int rc = result_of(wire, count);
		if (rc < 0)
			return -1;
		if (rc == 0) {
			watch(wire, true);
			return 0;
		}
		wire->out_sent += (size_t)count;
	}
	buf_reset(&wire->out);
	wire->out_sent = 0;
	watch(wire, false);
	return 0;
}

int wire_turn(struct wire *wire)
{
	if (read_some(wire) != 0)
		return -1;
	return wire_flush(wire);
}

void wire_put(struct wire *wire, const void *bytes, size_t size)
{
	if (buf_append(&wire->out, bytes, size) != 0)
		die("more than %d bytes wait to be sent", BODY_MAX);
}

void wire_put_message(struct wire *wire, const char *line, const void *body, size_t size)
{
	buf_printf(&wire->out,
		   "%s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", line,
		   size);
	wire_put(wire, body, size);
}

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				    .sin_port = htons((uint16_t)port)};
}

int wire_listen(int *port)
{
	struct sockaddr_in address = loopback(0);
	socklen_t size = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
	    listen(listener, 1024) != 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &size) != 0)
		die("cannot listen: %s", strerror(errno));
	*port = ntohs(address.sin_port);
	return listener;
}

int wire_connect(int port)
{
	struct sockaddr_in address = loopback(port);
	int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address) != 0)
		die("cannot connect to port %d: %s", port, strerror(errno));
	return connection;
}

static SSL_CTX *tls_context(const SSL_METHOD *method)
{
	SSL_CTX *tls = SSL_CTX_new(method);
	if (tls == NULL)
		die("cannot set up TLS");
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				  SSL_MODE_RELEASE_BUFFERS);
	return tls;
}

SSL_CTX *wire_tls_server(const char *certificate_file, const char *key_file)
{
	SSL_CTX *tls = tls_context(TLS_server_method());
	if (SSL_CTX_use_certificate_chain_file(tls, certificate_file) != 1 ||
	    SSL_CTX_use_PrivateKey_file(tls, key_file, SSL_FILETYPE_PEM) != 1)
		die("cannot read %s and %s", certificate_file, key_file);
	return tls;
}

SSL_CTX *wire_tls_client(void)
{
	return tls_context(TLS_client_method());
}
