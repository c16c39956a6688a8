#include "base/url_plain.h"

#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <string.h>

enum { HOST_MAX = 253, PORT_DIGITS = 5 };

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_in_path(char c)
{
	return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z') ||
	       (c != '\0' && strchr("-._~/:@!$&()*+,;=", c) != NULL);
}

/* A name whose last label begins with a letter is no address in any notation. */
static bool is_plain_host(const char *host, size_t size)
{
	char text[HOST_MAX + 1];
	struct in_addr address;
	size_t label = 0; /* where the last one begins */
	if (size == 0 || size > HOST_MAX)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (host[i] == '.') {
			if (i == label)
				return false;
			label = i + 1;
		} else if (!is_lower(host[i]) && !is_digit(host[i]) && host[i] != '-') {
			return false;
		}
	}
	if (label < size && is_lower(host[label]))
		return true;
	memcpy(text, host, size);
	text[size] = '\0';
	return inet_pton(AF_INET, text, &address) == 1; /* takes the canonical form alone */
}

/* The port behind a colon; 0 when there is none, or one that has to be looked at. */
static int64_t plain_port(const char *digits, size_t size)
{
	char text[PORT_DIGITS + 1];
	int64_t port;
	if (size == 0 || size > PORT_DIGITS || digits[0] < '1' || digits[0] > '9')
		return 0;
	memcpy(text, digits, size);
	text[size] = '\0';
	return str_to_int64(text, &port) && port <= UINT16_MAX ? port : 0;
}

/* The length of the path, which begins with a slash; 0 when something in it needs care. */
static size_t plain_path(const char *path)
{
	size_t size = 0;
	if (path[0] != '/')
		return 0;
	for (; is_in_path(path[size]); size++) {
		if (path[size] == '.' && path[size - 1] == '/')
			return 0; /* may be a dot segment */
	}
	return path[size] == '\0' || path[size] == '?' ? size : 0;
}

static bool is_plain_query(const char *query)
{
	size_t size = 0;
	while (is_in_path(query[size]))
		size++;
	return size > 0 && query[size] == '\0';
}

bool url_parse_plain(const char *text, struct url *url)
{
	bool is_tls = str_has_prefix(text, "https://");
	if (!is_tls && !str_has_prefix(text, "http://"))
		return false;
	const char *host = text + strlen(is_tls ? "https://" : "http://");
	size_t host_size = strcspn(host, ":/");
	const char *behind = host + host_size;
	int64_t default_port = is_tls ? 443 : 80;
	int64_t port = default_port;
	if (*behind == ':') {
		size_t digits = strcspn(++behind, "/");
		port = plain_port(behind, digits);
		if (port == 0 || port == default_port)
			return false;
		behind += digits;
	}
	size_t path_size = plain_path(behind);
	if (path_size == 0 || !is_plain_host(host, host_size))
		return false;
	const char *query = behind[path_size] == '?' ? behind + path_size + 1 : NULL;
	if (query != NULL && !is_plain_query(query))
		return false;
	*url = (struct url){.text = mem_strdup(text),
			    .scheme = mem_strdup(is_tls ? "https" : "http"),
			    .host = mem_strndup(host, host_size),
			    .path = mem_strndup(behind, path_size),
			    .query = query != NULL ? mem_strdup(query) : NULL,
			    .port = (uint16_t)port};
	return true;
}
