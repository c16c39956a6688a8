/* One HTTP exchange: a request goes out, and exactly one callback tells how it ended,
 * never from inside http_start. Redirects are not followed here. A request is sent once; only
 * one that may be repeated (not POST, not PATCH) is sent once more, when a connection that was
 * kept open turns out to be dead. libcurl does the work; it is known here and in loop.c. */
#ifndef AGENT_HTTP_H
#define AGENT_HTTP_H

#include "agent/http_headers.h"
#include "agent/loop.h"
#include "agent/spool.h"
#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What all exchanges of one kind of peer share. Borrowed texts, NULL where not used. */
struct http_profile {
	const char
	    *https_proxy;       /* for https:// URLs; NULL: direct, whatever the environment says */
	const char *http_proxy; /* the same for http:// */
	const char *no_proxy;   /* hosts that are reached without it */
	const char *client_cert_file; /* PEM */
	const char *client_key_file;  /* PEM */
	bool needs_tls12;             /* refuse TLS below 1.2 */
};

struct http_client;

/* ca_file (may be NULL) is trusted beside the system's roots. max_connections bounds how
 * many idle connections are kept. */
struct http_client *http_client_new(struct loop *loop, const char *ca_file, size_t max_connections,
				    struct error *err);
void http_client_free(struct http_client *client);
struct loop *http_client_loop(const struct http_client *client);

/* One part of multipart/form-data (RFC 7578); borrowed. */
struct http_part {
	const char *name;
	const char *value;
	size_t size;
	const char *filename;     /* NULL: none */
	const char *content_type; /* NULL: none, or guessed where there is a filename */
};

enum http_body_kind { HTTP_BODY_NONE, HTTP_BODY_BYTES, HTTP_BODY_SPOOL, HTTP_BODY_FORM };

/* Borrowed until the exchange has ended. */
struct http_request {
	const struct http_profile *profile;
	const char *method; /* upper case */
	const char *url;
	const char *user;     /* for basic authentication; NULL: none */
	const char *password; /* NULL: empty */
	const struct http_headers *headers;
	enum http_body_kind body_kind;
	const void *body;
	size_t body_size;
	struct spool *body_spool;
	const struct http_part *parts;
	size_t part_count;
	int64_t timeout_ms;      /* for the whole exchange */
	int64_t told_timeout_ms; /* what a message about it names; 0: timeout_ms */
	bool ignore_tls_certificate;
	bool decode; /* offer and decode content encodings */
	size_t max_response_bytes;
	struct spool *into; /* where the answer's body goes; NULL: into the response's buffer */
};

enum { HTTP_PROXY_NAME_SIZE = 272 };

/* How it ended. Valid inside the callback only, except for what it takes. */
struct http_response {
	int status;                       /* 0: no answer */
	char proxy[HTTP_PROXY_NAME_SIZE]; /* "host:port" of the one that was used; "": none */
	const char *code;                /* no answer: a stable code of commands ("ECONNREFUSED") */
	char message[ERROR_MESSAGE_MAX]; /* no answer: "connect ECONNREFUSED 127.0.0.1:80" */
	struct buf *body;                /* empty where the request said where it goes */
	bool is_decoded;                 /* a content encoding was taken off the body */
	int64_t sent_bytes;              /* of bodies and headers */
	int64_t received_bytes;          /* on the wire */
	struct http_exchange *exchange;
};

struct http_exchange *http_start(struct http_client *client, const struct http_request *request,
				 void (*on_done)(void *context, struct http_response *response),
				 void *context);
/* Ends it without a callback. */
void http_cancel(struct http_exchange *exchange);
/* Has an answer begun to come? Its headers have, those of a final one. */
bool http_has_begun(const struct http_exchange *exchange);

/* Header fields that share a name. The texts live as long as the exchange. */
struct http_field {
	const char *name;  /* as it came first */
	const char *value; /* the first one */
	size_t count;      /* of values */
};

/* Walks the headers of the final answer (no 1xx, no trailers) by their names, in the order in which
 * these first came, from *position = 0; false at the end. */
bool http_next_field(const struct http_response *response, void **position,
		     struct http_field *field);
/* The value of that number (from 0) under that name. */
const char *http_field_value(const struct http_response *response, const char *name, size_t number);
/* The first header of that name, or NULL. */
const char *http_find_header(const struct http_response *response, const char *name);

#endif
