#include "service/listen.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 1024, HOST_MAX = 64 };

/* Takes "host:port" apart; an IPv6 address stands in brackets. */
static int split(const char *text, char host[HOST_MAX], int64_t *port)
{
	const char *colon = strrchr(text, ':');
	if (!colon || !str_to_int64(colon + 1, port) || *port < 0 || *port > 65535)
		return ERR_INVALID;
	size_t length = (size_t)(colon - text);
	if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
		text++;
		length -= 2;
	}
	if (length >= HOST_MAX)
		return ERR_INVALID;
	memcpy(host, text, length);
	host[length] = '\0';
	return 0;
}

int listen_parse(const char *text, struct listen_address *address, struct error *err)
{
	char host[HOST_MAX] = "";
	int64_t port = 0;
	*address = (struct listen_address){0};
	int rc = split(text, host, &port);
	if (rc == 0 && strcmp(host, "localhost") == 0)
		memcpy(host, "127.0.0.1", sizeof "127.0.0.1");
	if (rc == 0 && inet_pton(AF_INET, host, &address->socket.v4.sin_addr) == 1) {
		address->socket.v4.sin_family = AF_INET;
		address->socket.v4.sin_port = htons((uint16_t)port);
		address->size = sizeof address->socket.v4;
		return 0;
	}
	if (rc == 0 && inet_pton(AF_INET6, host, &address->socket.v6.sin6_addr) == 1) {
		address->socket.v6.sin6_family = AF_INET6;
		address->socket.v6.sin6_port = htons((uint16_t)port);
		address->size = sizeof address->socket.v6;
		return 0;
	}
	return error_set(err, ERR_INVALID,
			 "must be an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:8080 "
			 "or [::]:8080");
}

static int explain(const char *text, int os_errno, struct error *err)
{
	if (os_errno == EADDRINUSE)
		return error_set(
		    err, ERR_BUSY,
		    "listen on %s: the address is in use: stop the program that uses "
		    "it, or choose another port with --listen (port 0 takes a free one)",
		    text);
	if (os_errno == EADDRNOTAVAIL)
		return error_set(
		    err, ERR_SYSTEM,
		    "listen on %s: this machine has no such address: 0.0.0.0 means all "
		    "of its addresses",
		    text);
	if (os_errno == EACCES)
		return error_set(err, ERR_SYSTEM,
				 "listen on %s: not allowed: ports below 1024 need a privilege; "
				 "choose another port",
				 text);
	return error_set_errno(err, os_errno, "listen on %s", text);
}

static int bind_and_listen(int fd, const struct listen_address *address, uint16_t *port)
{
	struct listen_address bound = {.size = sizeof bound.socket};
	int yes = 1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
	    bind(fd, &address->socket.any, address->size) < 0 || listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, &bound.socket.any, &bound.size) < 0)
		return -1;
	/* Both kinds have their port at the same place. */
	*port = ntohs(bound.socket.v4.sin_port);
	return 0;
}

int listen_open(const char *text, int *fd, uint16_t *port, struct error *err)
{
	struct listen_address address;
	int rc = listen_parse(text, &address, err);
	if (rc < 0)
		return rc;
	int made =
	    socket(address.socket.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (made < 0)
		return error_set_errno(err, errno, "listen on %s", text);
	if (bind_and_listen(made, &address, port) < 0) {
		int os_errno = errno;
		(void)close(made);
		return explain(text, os_errno, err);
	}
	*fd = made;
	return 0;
}
