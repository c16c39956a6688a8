/* Where the service listens: "127.0.0.1:8080", "[::1]:8080", "localhost:8080". Numbers
 * only, because names would have to be looked up. */
#ifndef SERVICE_LISTEN_H
#define SERVICE_LISTEN_H

#include "base/error.h"

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

struct listen_address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} socket;
	socklen_t size;
};

/* ERR_INVALID says what would be right. */
NODISCARD int listen_parse(const char *text, struct listen_address *address, struct error *err);
/* A listening socket, or a message that says what to do. */
NODISCARD int listen_open(const char *text, int *fd, uint16_t *port, struct error *err);

#endif
