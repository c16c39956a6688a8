#include "agent/upload.h"

#include "agent/limits.h"
#include "agent/service_call.h"
#include "base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

enum {
	UPLOAD_TIMEOUT_MS = 600000,
	GZIP_LEVEL = 3,        /* most of what a higher one saves, in a third of its time */
	GZIP_WINDOW = 15 + 16, /* the largest, with gzip's frame (RFC 1952) */
	GZIP_MEMORY = 8,
};

struct upload {
	struct loop *loop;
	struct http_client *client;
	struct upload_request request;
	void (*on_done)(void *context, const struct transport_outcome *outcome);
	void *context;
	struct http_headers headers;
	struct http_exchange *exchange;
	/* With gzip: */
	struct spool packed;
	struct buf piece;
	z_stream deflate;
	struct loop_task next;
};

static void upload_free(struct upload *upload)
{
	http_headers_release(&upload->headers);
	if (upload->request.gzip)
		deflateEnd(&upload->deflate);
	spool_release(&upload->packed);
	buf_release(&upload->piece);
	loop_cancel(upload->loop, &upload->next);
	free(upload);
}

static void finish(struct upload *upload, const struct transport_outcome *outcome)
{
	upload->on_done(upload->context, outcome);
	upload_free(upload);
}

static void on_response(void *context, struct http_response *response)
{
	struct transport_outcome outcome;
	transport_outcome_from_response(&outcome, response, "PUT of an answer to its upload URL");
	finish(context, &outcome);
}

static void send_content(struct upload *upload, struct spool *content)
{
	struct http_request request = {
	    .profile = upload->request.profile,
	    .method = "PUT",
	    .url = upload->request.url,
	    .headers = &upload->headers,
	    .body_kind = HTTP_BODY_SPOOL,
	    .body_spool = content,
	    .timeout_ms = UPLOAD_TIMEOUT_MS,
	    .max_response_bytes = LIMIT_SERVICE_ANSWER_BYTES,
	};
	upload->exchange = http_start(upload->client, &request, on_response, upload);
}

/* All that deflate makes of its input goes to packed. */
static int deflate_all(struct upload *upload, int flush, struct error *err)
{
	unsigned char out[32 * 1024];
	int rc = 0;
	do {
		upload->deflate.next_out = out;
		upload->deflate.avail_out = sizeof out;
		(void)deflate(&upload->deflate, flush); /* fails only on a state that is not ours */
		rc =
		    spool_append(&upload->packed, out, sizeof out - upload->deflate.avail_out, err);
	} while (rc == 0 && upload->deflate.avail_out == 0);
	return rc;
}

static int pack_piece(struct upload *upload, bool *is_last, struct error *err)
{
	const char *bytes;
	size_t count;
	if (spool_next(upload->request.content, &upload->piece, &bytes, &count, err) != 0)
		return ERR_SYSTEM;
	*is_last = count < SPOOL_PIECE_BYTES;
	/* zlib does not write to its input, and says so only when built with ZLIB_CONST. */
	upload->deflate.next_in = (unsigned char *)(uintptr_t)bytes;
	upload->deflate.avail_in = (uInt)count;
	return deflate_all(upload, *is_last ? Z_FINISH : Z_NO_FLUSH, err);
}

/* One piece a turn. */
static void on_pack(void *context)
{
	struct upload *upload = context;
	struct error err;
	bool is_last = false;
	if (pack_piece(upload, &is_last, &err) != 0) {
		struct transport_outcome outcome = {.is_ok = false};
		error_prefix(&err, "packing an answer for its upload");
		snprintf(outcome.reason, sizeof outcome.reason, "%s", err.message);
		finish(upload, &outcome);
	} else if (is_last) {
		send_content(upload, &upload->packed);
	} else {
		loop_next_turn(upload->loop, &upload->next);
	}
}

static void start_packing(struct upload *upload)
{
	http_headers_add(&upload->headers, "Content-Encoding", "gzip");
	if (deflateInit2(&upload->deflate, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		abort(); /* as mem.h does */
	upload->piece = BUF_INIT(SPOOL_PIECE_BYTES);
	spool_init(&upload->packed, SPOOL_SCRATCH, upload->request.scratch_folder, SIZE_MAX / 2);
	spool_rewind(upload->request.content);
	upload->next = (struct loop_task){.run = on_pack, .context = upload};
	loop_next_turn(upload->loop, &upload->next);
}

struct upload *upload_start(struct loop *loop, struct http_client *client,
			    const struct upload_request *request,
			    void (*on_done)(void *context, const struct transport_outcome *outcome),
			    void *context)
{
	struct upload *upload = mem_new(struct upload);
	upload->loop = loop;
	upload->client = client;
	upload->request = *request;
	upload->on_done = on_done;
	upload->context = context;
	http_headers_add(&upload->headers, "Content-Type", "application/json");
	if (request->gzip)
		start_packing(upload);
	else
		send_content(upload, request->content);
	return upload;
}

void upload_cancel(struct upload *upload)
{
	if (upload == NULL)
		return;
	http_cancel(upload->exchange);
	upload_free(upload);
}
