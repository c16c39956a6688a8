#include "base/url.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/url_escape.h"
#include "base/url_plain.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

enum {
	SCHEME_MAX = 32,
	TEXT_MAX = 1 << 20, /* curl takes 8 MB, and encoding makes a text three times longer */
	BUILT_BYTES = 255,  /* room for a URL of usual length */
};

static bool is_http(const char *text, size_t length)
{
	return (length == 4 && strncasecmp(text, "http", 4) == 0) ||
	       (length == 5 && strncasecmp(text, "https", 5) == 0);
}

static int check_characters(const char *text, struct error *err)
{
	const char *c = text;

	for (; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7F)
			return error_set(err, ERR_INVALID, "holds a control character");
	}
	if (c - text > TEXT_MAX)
		return error_set(err, ERR_INVALID, "longer than %d bytes", TEXT_MAX);
	return 0;
}

static int scheme_error(const char *text, size_t length, struct error *err)
{
	return error_set(err, ERR_INVALID, "the scheme must be http or https, is %.*s",
			 length > SCHEME_MAX ? SCHEME_MAX : (int)length, text);
}

/* What curl is lenient about: it takes "http:/host" and "http:///host" as well. */
static int check_beginning(const char *text, struct error *err)
{
	size_t length = url_scheme_length(text);
	const char *behind = text + length;

	if (length > 0 && !is_http(text, length) && str_has_prefix(behind, "://"))
		return scheme_error(text, length, err);
	if (!is_http(text, length))
		return error_set(err, ERR_INVALID,
				 "not absolute, must begin with http:// or https://");
	if (!str_has_prefix(behind, "://"))
		return error_set(err, ERR_INVALID, "\"//\" is missing behind the scheme");
	if (behind[3] == '\0' || strchr("/?#", behind[3]))
		return error_set(err, ERR_INVALID, "has no host");
	/* Browsers take a backslash for a slash, curl does not: one of them would be fooled. */
	if (memchr(behind + 3, '\\', strcspn(behind + 3, "/?#")))
		return error_set(err, ERR_INVALID, "a backslash before the path");
	return 0;
}

/* curl's texts name the part that is wrong and repeat nothing of the URL. */
static int curl_error(CURLUcode code, struct error *err)
{
	if (code == CURLUE_OUT_OF_MEMORY)
		return error_set(err, ERR_MEMORY, "out of memory");
	if (code == CURLUE_NO_HOST)
		return error_set(err, ERR_INVALID, "has no host");
	if (code == CURLUE_BAD_PORT_NUMBER)
		return error_set(err, ERR_INVALID, "the port must be from 1 to 65535");
	return error_set(err, ERR_INVALID, "%s", curl_url_strerror(code));
}

/* A copy of one part in memory of our own; NULL when the URL has none of it. */
static CURLUcode get_optional(CURLU *handle, CURLUPart part, unsigned int flags, char **out)
{
	char *text = NULL;
	CURLUcode code = curl_url_get(handle, part, &text, flags);

	if (code == CURLUE_NO_USER || code == CURLUE_NO_PASSWORD || code == CURLUE_NO_QUERY)
		code = CURLUE_OK;
	if (code == CURLUE_OK)
		*out = text ? mem_strdup(text) : NULL;
	curl_free(text);
	return code;
}

/* A part without which there is no URL: *out is set on CURLUE_OK. */
static CURLUcode get_part(CURLU *handle, CURLUPart part, unsigned int flags, char **out)
{
	CURLUcode code = get_optional(handle, part, flags, out);

	return code == CURLUE_OK && !*out ? CURLUE_OUT_OF_MEMORY : code;
}

static bool is_ascii(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text >= 0x80)
			return false;
	}
	return true;
}

/* libidn2 takes the text to be in the character set of the locale, which for a program
 * that never asked for one is ASCII. */
static CURLUcode get_punycode(CURLU *handle, char **out)
{
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	locale_t before;
	CURLUcode code;

	if (utf8 == (locale_t)0)
		return CURLUE_LACKS_IDN;
	before = uselocale(utf8);
	code = get_part(handle, CURLUPART_HOST, CURLU_PUNYCODE, out);
	(void)uselocale(before);
	freelocale(utf8);
	/* Whatever does not convert is called "out of memory" by curl. */
	return code == CURLUE_OUT_OF_MEMORY ? CURLUE_BAD_HOSTNAME : code;
}

/* Puts another host into the URL and parses it again: only a whole URL is looked at for
 * addresses in other notations. */
static CURLUcode replace_host(CURLU *handle, const char *host)
{
	char *text = NULL;
	CURLUcode code = curl_url_set(handle, CURLUPART_HOST, host, 0);

	if (code == CURLUE_OK)
		code = get_part(handle, CURLUPART_URL, 0, &text);
	if (code == CURLUE_OK)
		code = curl_url_set(handle, CURLUPART_URL, text, 0);
	if (text)
		explicit_bzero(text, strlen(text)); /* it may hold a password */
	free(text);
	return code;
}

/* An international name gets its ASCII form; the conversion maps letters, so what comes
 * out ("１２７.０.０.１") may even be an address. */
static CURLUcode use_ascii_host(CURLU *handle)
{
	char *host = NULL, *ascii = NULL;
	CURLUcode code = get_part(handle, CURLUPART_HOST, 0, &host);

	if (code != CURLUE_OK || is_ascii(host))
		goto out;
	code = CURLUE_BAD_HOSTNAME;
	if (!str_is_utf8(host, strlen(host)))
		goto out;
	code = get_punycode(handle, &ascii);
	if (code == CURLUE_OK)
		code = is_ascii(ascii) ? replace_host(handle, ascii) : CURLUE_BAD_HOSTNAME;
out:
	free(host);
	free(ascii);
	return code;
}

/* "host." is the same host: without the dot, rules about hosts see one name. And the host
 * is set again in any case: curl finds addresses before it decodes, takes "0x7f%2e1" for
 * a name and would connect to 127.0.0.1 when it reads what it made of it. */
static CURLUcode settle_host(CURLU *handle)
{
	char *host = NULL;
	CURLUcode code = get_part(handle, CURLUPART_HOST, 0, &host);
	size_t size = code == CURLUE_OK ? strlen(host) : 0;

	if (size > 0 && host[size - 1] == '.')
		host[--size] = '\0';
	if (code == CURLUE_OK && (size == 0 || host[size - 1] == '.'))
		code = CURLUE_BAD_HOSTNAME;
	if (code == CURLUE_OK && host[0] != '[')
		code = replace_host(handle, host);
	free(host);
	return code;
}

/* curl keeps the zone of "[fe80::1%25eth0]" apart and loses it when the host is set; a
 * target that exists on one interface only is none that anybody asked for. */
static int refuse_zone(CURLU *handle, struct error *err)
{
	char *zone = NULL;
	CURLUcode code = curl_url_get(handle, CURLUPART_ZONEID, &zone, 0);

	curl_free(zone);
	if (code == CURLUE_OK)
		return error_set(err, ERR_INVALID, "an IPv6 address with a zone");
	return 0;
}

static int get_port(CURLU *handle, uint16_t *port, struct error *err)
{
	char *text = NULL;
	int64_t number = 0;
	CURLUcode code = get_part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT, &text);

	if (code == CURLUE_OK &&
	    (!str_to_int64(text, &number) || number < 1 || number > UINT16_MAX))
		code = CURLUE_BAD_PORT_NUMBER;
	free(text);
	if (code != CURLUE_OK)
		return curl_error(code, err);
	*port = (uint16_t)number;
	return 0;
}

/* curl decodes "%7f" and "%25" in a host and lets such characters stand. A name for this
 * purpose has letters, digits and "-._~"; what is in brackets curl has looked at. */
static bool is_host(const char *host)
{
	if (host[0] == '[')
		return true;
	for (; *host; host++) {
		if (!url_is_unreserved((unsigned char)*host))
			return false;
	}
	return true;
}

/* User and password are taken out first, and the host is lower case before the text is
 * made, so that the text is what is requested. */
static int take_apart(CURLU *handle, struct url *url, struct error *err)
{
	CURLUcode code;

	if ((code = get_optional(handle, CURLUPART_USER, CURLU_URLDECODE, &url->user)) !=
		CURLUE_OK ||
	    (code = get_optional(handle, CURLUPART_PASSWORD, CURLU_URLDECODE, &url->password)) !=
		CURLUE_OK ||
	    (code = curl_url_set(handle, CURLUPART_USER, NULL, 0)) != CURLUE_OK ||
	    (code = curl_url_set(handle, CURLUPART_PASSWORD, NULL, 0)) != CURLUE_OK ||
	    (code = curl_url_set(handle, CURLUPART_FRAGMENT, NULL, 0)) != CURLUE_OK ||
	    (code = get_part(handle, CURLUPART_SCHEME, 0, &url->scheme)) != CURLUE_OK ||
	    (code = get_part(handle, CURLUPART_HOST, 0, &url->host)) != CURLUE_OK)
		return curl_error(code, err);
	if (!is_host(url->host))
		return curl_error(CURLUE_BAD_HOSTNAME, err);
	str_lower(url->scheme);
	str_lower(url->host);
	if ((code = curl_url_set(handle, CURLUPART_HOST, url->host, 0)) != CURLUE_OK ||
	    (code = get_part(handle, CURLUPART_PATH, 0, &url->path)) != CURLUE_OK ||
	    (code = get_optional(handle, CURLUPART_QUERY, 0, &url->query)) != CURLUE_OK ||
	    (code = get_part(handle, CURLUPART_URL, CURLU_NO_DEFAULT_PORT, &url->text)) !=
		CURLUE_OK)
		return curl_error(code, err);
	if (url->query && *url->query == '\0') { /* neither in the text */
		free(url->query);
		url->query = NULL;
	}
	return get_port(handle, &url->port, err);
}

static int parse_prepared(const char *text, struct url *parts, struct error *err)
{
	CURLU *handle = curl_url();
	CURLUcode verdict;
	int code;

	if (!handle)
		return error_set(err, ERR_MEMORY, "out of memory");
	verdict = curl_url_set(handle, CURLUPART_URL, text, 0);
	if (verdict == CURLUE_OK)
		verdict = use_ascii_host(handle);
	if (verdict == CURLUE_OK)
		verdict = settle_host(handle);
	code = verdict == CURLUE_OK ? refuse_zone(handle, err) : curl_error(verdict, err);
	if (code == 0)
		code = take_apart(handle, parts, err);
	curl_url_cleanup(handle);
	return code;
}

int url_parse(const char *text, struct url *url, struct error *err)
{
	struct buf prepared = BUF_INIT(4 * TEXT_MAX);
	struct url parts = {0};
	int code;

	if ((code = check_characters(text, err)) < 0 || (code = check_beginning(text, err)) < 0)
		return code;
	if (url_parse_plain(text, url))
		return 0;
	url_append_prepared(&prepared, text);
	code = buf_check(&prepared, "URL", err);
	if (code == 0)
		code = parse_prepared(buf_str(&prepared), &parts, err);
	if (code < 0)
		url_release(&parts);
	else
		*url = parts;
	buf_wipe(&prepared); /* it may hold a password */
	return code;
}

void url_release(struct url *url)
{
	free(url->text);
	free(url->scheme);
	free(url->host);
	free(url->path);
	free(url->query);
	if (url->password)
		explicit_bzero(url->password, strlen(url->password));
	free(url->password);
	free(url->user);
	*url = (struct url){0};
}

static int join(const struct url *base, const char *reference, char **joined, struct error *err)
{
	CURLU *handle = curl_url();
	CURLUcode code;

	if (!handle)
		return error_set(err, ERR_MEMORY, "out of memory");
	code = curl_url_set(handle, CURLUPART_URL, base->text, 0);
	if (code == CURLUE_OK)
		code = curl_url_set(handle, CURLUPART_URL, reference, 0);
	if (code == CURLUE_OK)
		code = get_part(handle, CURLUPART_URL, 0, joined);
	curl_url_cleanup(handle);
	return code == CURLUE_OK ? 0 : curl_error(code, err);
}

/* What comes out is parsed like any other URL, so a Location gets past nothing that
 * url_parse refuses. */
int url_resolve(const struct url *base, const char *reference, struct url *url, struct error *err)
{
	struct buf mended = BUF_INIT(4 * TEXT_MAX);
	size_t scheme = url_scheme_length(reference);
	char *joined = NULL;
	int code;

	if ((code = check_characters(reference, err)) < 0)
		return code;
	if (scheme > 0)
		return is_http(reference, scheme) ? url_parse(reference, url, err)
						  : scheme_error(reference, scheme, err);
	url_append_mended(&mended, reference, strcspn(reference, "#"));
	if (str_has_prefix(reference, "//"))
		joined = mem_printf("%s:%s", base->scheme, reference);
	else if (mended.size == 0)
		joined = mem_strdup(base->text);
	else if ((code = buf_check(&mended, "URL", err)) == 0)
		code = join(base, buf_str(&mended), &joined, err);
	if (code == 0)
		code = url_parse(joined, url, err);
	free(joined);
	buf_release(&mended);
	return code;
}

bool url_same_origin(const struct url *a, const struct url *b)
{
	return strcmp(a->scheme, b->scheme) == 0 && strcmp(a->host, b->host) == 0 &&
	       a->port == b->port;
}

char *url_for_log(const struct url *url)
{
	return mem_printf("%s://%s:%u%s", url->scheme, url->host, url->port, url->path);
}

static bool is_loopback_ipv6(const char *host)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;
	size_t size = strlen(host);

	if (size < 2 || size - 2 >= sizeof text)
		return false;
	memcpy(text, host + 1, size - 2);
	text[size - 2] = '\0';
	if (inet_pton(AF_INET6, text, &address) != 1)
		return false;
	return IN6_IS_ADDR_LOOPBACK(&address) ||
	       (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
}

bool url_is_loopback(const struct url *url)
{
	static const char name[] = "localhost";
	struct in_addr address;
	size_t size = strlen(url->host);
	const char *tail;

	if (url->host[0] == '[')
		return is_loopback_ipv6(url->host);
	if (inet_pton(AF_INET, url->host, &address) == 1)
		return ntohl(address.s_addr) >> 24 == 127;
	/* Names below localhost are this machine too (RFC 6761, 6.3), and curl connects so. */
	if (size < sizeof name - 1)
		return false;
	tail = url->host + size - (sizeof name - 1);
	return memcmp(tail, name, sizeof name - 1) == 0 && (tail == url->host || tail[-1] == '.');
}

static void append_encoded(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (url_is_unreserved((unsigned char)*text))
			buf_append_char(out, *text);
		else
			url_append_percent(out, (unsigned char)*text);
	}
}

/* "." and ".." are steps in a path however they are encoded. Encoded twice they are names
 * that nothing has, and lead nowhere. */
static void append_segment(struct buf *out, const char *segment)
{
	if (out->size == 0 || out->data[out->size - 1] != '/')
		buf_append_char(out, '/');
	if (strcmp(segment, ".") == 0)
		buf_append_str(out, "%252E");
	else if (strcmp(segment, "..") == 0)
		buf_append_str(out, "%252E%252E");
	else
		append_encoded(out, segment);
}

/* base->text without path and query: they are its end. */
static size_t origin_size(const struct url *base)
{
	size_t query = base->query ? strlen(base->query) + 1 : 0;

	return strlen(base->text) - strlen(base->path) - query;
}

/* Without libcurl, which would print the URL anew for each piece: base is normalised, and what is
 * added is encoded. */
char *url_build(const struct url *base, const char *const *segments, const char *const *parameters)
{
	struct buf text = BUF_INIT(SIZE_MAX / 2);
	bool has_query = base->query != NULL;

	(void)buf_reserve(&text, BUILT_BYTES);
	buf_append(&text, base->text, origin_size(base));
	buf_append_str(&text, base->path);
	for (; segments && *segments; segments++)
		append_segment(&text, *segments);
	if (base->query) {
		buf_append_char(&text, '?');
		buf_append_str(&text, base->query);
	}
	for (; parameters && parameters[0]; parameters += 2) {
		if (!has_query)
			buf_append_char(&text, '?');
		else if (text.size > 0 && text.data[text.size - 1] != '&')
			buf_append_char(&text, '&'); /* a base's query may end in one */
		append_encoded(&text, parameters[0]);
		buf_append_char(&text, '=');
		append_encoded(&text, parameters[1]);
		has_query = true;
	}
	if (text.failed)
		abort(); /* as mem.h does */
	return buf_detach(&text, NULL);
}

static char *copy_text(const char *text)
{
	return text != NULL ? mem_strdup(text) : NULL;
}

void url_copy(const struct url *from, struct url *to)
{
	*to = (struct url){
	    .text = copy_text(from->text),
	    .scheme = copy_text(from->scheme),
	    .host = copy_text(from->host),
	    .port = from->port,
	    .path = copy_text(from->path),
	    .query = copy_text(from->query),
	    .user = copy_text(from->user),
	    .password = copy_text(from->password),
	};
}
