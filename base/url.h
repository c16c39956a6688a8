/* URLs by libcurl's parser, the same one that later makes the connection, so that
 * what was checked is what is opened. */
#ifndef BASE_URL_H
#define BASE_URL_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* The parts of an absolute http or https URL; all owned by the struct. */
struct url {
	/* Normalised: as it is requested, without user, password, fragment. Its end is the path, then
	 * "?" and the query, as below. */
	char *text;
	char *scheme; /* "http" or "https" */
	char *host;   /* lower case, ASCII (IDN converted), no final dot; IPv6 in brackets */
	uint16_t port;
	char *path;     /* without the query */
	char *query;    /* without '?'; NULL when there is none */
	char *user;     /* decoded; NULL when the URL names none */
	char *password; /* decoded; NULL when the URL names none */
};

/* Characters that may not stand in a URL as they are (spaces, non-ASCII) are
 * percent-encoded. In the path, characters that need no encoding are decoded and "." and
 * ".." are taken as steps, so that "/a/%2e%2e/b" is "/b" for every rule about paths. ERR_INVALID says what is wrong without repeating user, password or
 * query. The caller releases url. */
NODISCARD int url_parse(const char *text, struct url *url, struct error *err);
void url_release(struct url *url);
/* to gets texts of its own; what it held before is not released. */
void url_copy(const struct url *from, struct url *to);

/* Resolves a Location against url. Same errors. */
NODISCARD int url_resolve(const struct url *base, const char *reference, struct url *url,
			  struct error *err);
/* Same scheme, host and port. */
bool url_same_origin(const struct url *a, const struct url *b);
/* "https://host:port/path": what a log line may show. The caller frees it. */
char *url_for_log(const struct url *url);
/* The host is this machine by its name or address: localhost, 127.0.0.0/8, ::1. */
bool url_is_loopback(const struct url *url);

/* Appends path segments, percent-encoded each (none leads out of the base's path), and query parameters to a base URL that
 * may have a path of its own. segments and parameters are NULL-terminated lists;
 * parameters are name, value, name, value… and may be NULL. The caller frees the text. */
char *url_build(const struct url *base, const char *const *segments, const char *const *parameters);

#endif
