#include "agent/sigv4.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALGORITHM "AWS4-HMAC-SHA256"

enum {
	TIME_SIZE = sizeof "20261121T040016Z",
	CANONICAL_MAX = 64 * 1024, /* a session token is the longest part */
};

void sigv4_keys_release(struct sigv4_keys *keys)
{
	secret_release(&keys->access_key_id);
	secret_release(&keys->secret_access_key);
	secret_release(&keys->session_token);
}

void sigv4_reset(struct sigv4 *signer)
{
	signer->date[0] = '\0';
	secret_wipe(signer->derived, sizeof signer->derived);
}

/* ISO 8601 in its basic form: "2026-11-21T04:00:16.123Z" without what is not wanted. */
static void format_time(int64_t now_ms, char time[TIME_SIZE])
{
	char text[CLOCK_TEXT_SIZE];
	size_t size = 0;
	clock_format(now_ms, text);
	for (const char *c = text; *c != '.' && size < TIME_SIZE - 2; c++) {
		if (*c != '-' && *c != ':')
			time[size++] = *c;
	}
	time[size++] = 'Z';
	time[size] = '\0';
}

static void hmac_text(const uint8_t key[SHA256_SIZE], const char *text, uint8_t out[SHA256_SIZE])
{
	digest_hmac_sha256(key, SHA256_SIZE, text, strlen(text), out);
}

static void derive(struct sigv4 *signer, const char date[SIGV4_DATE_SIZE])
{
	const struct secret *secret = &signer->keys->secret_access_key;
	struct buf first = BUF_INIT(secret->size + 4);
	uint8_t key[SHA256_SIZE];
	if (strcmp(signer->date, date) == 0)
		return;
	buf_append_str(&first, "AWS4");
	buf_append(&first, secret->bytes, secret->size);
	digest_hmac_sha256(first.data, first.size, date, strlen(date), key);
	buf_wipe(&first);
	hmac_text(key, signer->region, key);
	hmac_text(key, signer->service, key);
	hmac_text(key, "aws4_request", signer->derived);
	secret_wipe(key, sizeof key);
	memcpy(signer->date, date, SIGV4_DATE_SIZE);
}

static int compare_names(const void *a, const void *b)
{
	const struct http_header *const *left = a;
	const struct http_header *const *right = b;
	return strcasecmp((*left)->name, (*right)->name);
}

/* Without white space around it, and one space for each run inside it. */
static void append_trimmed(struct buf *out, const char *value)
{
	size_t begin = out->size;
	for (; *value != '\0'; value++) {
		bool is_space = *value == ' ' || *value == '\t';
		bool is_wanted =
		    !is_space || (out->size > begin && out->data[out->size - 1] != ' ');
		if (is_wanted)
			buf_append_char(out, is_space ? ' ' : *value);
	}
	if (out->size > begin && out->data[out->size - 1] == ' ')
		buf_truncate(out, out->size - 1);
}

/* "name:value\n" for each header in order of the names, and their names: "host;x-amz-date". */
static void canonical_headers(const struct http_headers *headers, struct buf *lines,
			      struct buf *names)
{
	const struct http_header **sorted = mem_calloc(headers->count, sizeof sorted[0]);
	for (size_t i = 0; i < headers->count; i++)
		sorted[i] = &headers->items[i];
	qsort((void *)sorted, headers->count, sizeof sorted[0], compare_names);
	for (size_t i = 0; i < headers->count; i++) {
		char *name = mem_strdup(sorted[i]->name);
		str_lower(name);
		buf_printf(lines, "%s:", name);
		append_trimmed(lines, sorted[i]->value);
		buf_append_char(lines, '\n');
		buf_printf(names, "%s%s", i > 0 ? ";" : "", name);
		free(name);
	}
	free((void *)sorted);
}

/* The digest of the canonical request; names gets the list of its headers. */
static void digest_request(const char *method, const char *path, const struct http_headers *headers,
			   const void *body, size_t body_size, struct buf *names,
			   char digest_text[SHA256_TEXT_SIZE])
{
	struct buf text = BUF_INIT(CANONICAL_MAX);
	uint8_t digest[SHA256_SIZE];
	char body_text[SHA256_TEXT_SIZE];
	digest_sha256(body, body_size, digest);
	digest_to_hex(digest, body_text);
	buf_printf(&text, "%s\n%s\n\n", method, path);
	canonical_headers(headers, &text, names);
	buf_printf(&text, "\n%s\n%s", buf_str(names), body_text);
	digest_sha256(buf_str(&text), text.size, digest);
	digest_to_hex(digest, digest_text);
	buf_wipe(&text);
}

void sigv4_sign(struct sigv4 *signer, const char *method, const char *path,
		struct http_headers *headers, const void *body, size_t body_size, int64_t now_ms)
{
	char time[TIME_SIZE];
	char date[SIGV4_DATE_SIZE];
	char request_digest[SHA256_TEXT_SIZE];
	struct buf names = BUF_INIT(CANONICAL_MAX);
	uint8_t signature[SHA256_SIZE];
	char signature_text[SHA256_TEXT_SIZE];
	format_time(now_ms, time);
	snprintf(date, sizeof date, "%.8s", time);
	http_headers_add(headers, "X-Amz-Date", time);
	if (secret_is_set(&signer->keys->session_token))
		http_headers_add(headers, "X-Amz-Security-Token",
				 signer->keys->session_token.bytes);
	digest_request(method, path, headers, body, body_size, &names, request_digest);

	char *scope = mem_printf("%s/%s/%s/aws4_request", date, signer->region, signer->service);
	char *to_sign = mem_printf(ALGORITHM "\n%s\n%s\n%s", time, scope, request_digest);
	derive(signer, date);
	hmac_text(signer->derived, to_sign, signature);
	digest_to_hex(signature, signature_text);
	char *authorization =
	    mem_printf(ALGORITHM " Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		       signer->keys->access_key_id.bytes, scope, buf_str(&names), signature_text);
	http_headers_add(headers, "Authorization", authorization);
	free(authorization);
	free(to_sign);
	free(scope);
	buf_release(&names);
}
