#include "base/file.h"
#include "base/mem.h"
#include "service/calls.h"
#include "service/jsonstream.h"
#include "service/record.h"
#include "service/routes.h"
#include "service/service.h"
#include "service/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <zlib.h>

enum {
	PIECE = 64 * 1024,     /* of decompressed bytes */
	GZIP_WINDOW = 15 + 16, /* zlib's way to say: gzip, any window */
};

/* An answer on its way into its file. The bytes are unpacked, checked and written as they
 * come; only what must wait for the disk is done by a worker in the end. */
struct upload {
	struct request_state state;
	struct request *request;
	char command_id[UUID_TEXT_SIZE];
	int fd;          /* -1: none */
	char *part_path; /* NULL: there is no file any more under this name */
	char *path;
	uint64_t bytes;
	struct jsonstream json;
	bool is_gzip;
	bool is_gzip_over;
	z_stream gzip;
	uv_work_t work;
	bool is_working;      /* the worker has it */
	bool is_given_up;     /* the request has gone while the worker had it */
	struct error failure; /* the worker's */
	bool has_failed;
};

static void upload_free(struct upload *upload)
{
	if (upload->fd >= 0)
		(void)close(upload->fd); /* what counts was synced */
	if (upload->part_path)
		(void)unlink(upload->part_path); /* or at the next start */
	if (upload->is_gzip)
		(void)inflateEnd(&upload->gzip); /* always fine for one that was begun */
	free(upload->part_path);
	free(upload->path);
	free(upload);
}

static void on_end(struct request_state *state, bool was_sent)
{
	struct upload *upload = (struct upload *)state;
	(void)was_sent;
	if (upload->is_working)
		upload->is_given_up = true;
	else
		upload_free(upload);
}

/* ---- Beginning */

/* 1 gzip, 0 identity, or 415. */
static int read_encoding(struct request *request)
{
	const char *encoding = request_header(request, MHD_HTTP_HEADER_CONTENT_ENCODING);
	if (!encoding || strcasecmp(encoding, "identity") == 0)
		return 0;
	if (strcasecmp(encoding, "gzip") == 0)
		return 1;
	request_fail(request, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE,
		     "Content-Encoding must be gzip or identity");
	return ERR_INVALID;
}

static int start(struct upload *upload, bool is_gzip, struct error *err)
{
	struct store *store = upload->request->service->store;
	upload->path = spool_path(store, upload->command_id);
	jsonstream_init(&upload->json, PAYLOAD_DEPTH_MAX);
	if (is_gzip && inflateInit2(&upload->gzip, GZIP_WINDOW) != Z_OK)
		return error_set(err, ERR_MEMORY, "unpack an upload: out of memory");
	upload->is_gzip = is_gzip;
	return spool_create(store, upload->command_id, &upload->fd, &upload->part_path, err);
}

void on_upload_begin(struct request *request)
{
	struct command command;
	struct error err;
	if (capability_check(request, URL_UPLOAD, &command) < 0)
		return;
	int is_gzip = read_encoding(request);
	if (is_gzip < 0)
		return;
	struct upload *upload = mem_new(struct upload);
	upload->state.end = on_end;
	upload->request = request;
	upload->fd = -1;
	memcpy(upload->command_id, command.id, sizeof command.id);
	request->state = &upload->state;
	if (start(upload, is_gzip > 0, &err) < 0)
		request_fail_store(request, &err);
}

/* ---- Pieces */

/* Takes unpacked bytes; answers when something is wrong with them. */
static int take(struct upload *upload, const char *bytes, size_t size)
{
	struct request *request = upload->request;
	uint64_t max_bytes = (uint64_t)request->service->settings->max_upload_bytes;
	struct error err;
	upload->bytes += size;
	if (upload->bytes > max_bytes) {
		request_fail(request, MHD_HTTP_CONTENT_TOO_LARGE,
			     "an answer must not be larger than %" PRIu64
			     " bytes after decompression (MAX_UPLOAD_BYTES of the service)",
			     max_bytes);
		return ERR_LIMIT;
	}
	if (jsonstream_feed(&upload->json, bytes, size, &err) < 0) {
		request_fail(request, MHD_HTTP_BAD_REQUEST, "the answer is not JSON: %s",
			     err.message);
		return err.code;
	}
	int rc = file_write_all(upload->fd, bytes, size, &err);
	if (rc < 0)
		request_fail_store(request, &err);
	return rc;
}

static int refuse_gzip(struct upload *upload, const char *why)
{
	request_fail(upload->request, MHD_HTTP_BAD_REQUEST, "the gzip data is broken: %s", why);
	return ERR_SYNTAX;
}

static int unpack(struct upload *upload, const char *bytes, size_t size)
{
	char *piece = mem_calloc(1, PIECE);
	int rc = 0;
	upload->gzip.next_in = (Bytef *)(uintptr_t)bytes;
	upload->gzip.avail_in = (uInt)size;
	do {
		if (upload->is_gzip_over) {
			if (upload->gzip.avail_in > 0)
				rc = refuse_gzip(upload, "something stands behind its end");
			break;
		}
		upload->gzip.next_out = (Bytef *)piece;
		upload->gzip.avail_out = PIECE;
		int result = inflate(&upload->gzip, Z_NO_FLUSH);
		if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
			rc = refuse_gzip(upload, upload->gzip.msg ? upload->gzip.msg : "no gzip");
		else
			rc = take(upload, piece, PIECE - upload->gzip.avail_out);
		upload->is_gzip_over = result == Z_STREAM_END;
	} while (rc == 0 && (upload->gzip.avail_in > 0 || upload->gzip.avail_out == 0));
	free(piece);
	return rc;
}

void on_upload_bytes(struct request *request, const char *bytes, size_t size)
{
	struct upload *upload = (struct upload *)request->state;
	/* Either has answered where it failed. */
	if (upload->is_gzip)
		(void)unpack(upload, bytes, size);
	else
		(void)take(upload, bytes, size);
}

/* ---- The end */

/* In a worker, because a disk takes its time; nothing else looks at the upload meanwhile. */
static void on_work(uv_work_t *work)
{
	struct upload *upload = work->data;
	upload->has_failed = fsync(upload->fd) < 0;
	if (upload->has_failed)
		(void)error_set_errno(&upload->failure, errno, "sync %s", upload->part_path);
}

static int sync_folder(const struct store *store, struct error *err)
{
	const char *folder = store_folder(store);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "open %s", folder);
	int rc = fsync(fd) < 0 ? error_set_errno(err, errno, "sync %s", folder) : 0;
	(void)close(fd); /* only synced */
	return rc;
}

/* The file takes the place of the last whole one. Not for a command that has ended by now:
 * its answer is settled. */
static int put_in_place(struct upload *upload, struct error *err)
{
	struct command command;
	struct store *store = upload->request->service->store;
	int rc = store_command_find(store, NULL, upload->command_id, &command, err);
	if (rc < 0)
		return rc;
	if (status_is_terminal(command.status))
		return error_set(err, ERR_NOT_FOUND, "the command has ended");
	if (rename(upload->part_path, upload->path) < 0)
		return error_set_errno(err, errno, "rename to %s", upload->path);
	free(upload->part_path);
	upload->part_path = NULL;
	return sync_folder(store, err);
}

static void answer_upload(struct upload *upload)
{
	struct request *request = upload->request;
	struct error err = upload->failure;
	int rc = upload->has_failed ? ERR_SYSTEM : put_in_place(upload, &err);
	if (rc == ERR_NOT_FOUND) {
		request_fail(request, MHD_HTTP_NOT_FOUND,
			     "the command has ended: its answer cannot be changed any more");
	} else if (rc < 0) {
		request_fail_store(request, &err);
	} else {
		struct json_object *value = json_new_object();
		json_set_int64(value, "size", (int64_t)upload->bytes);
		request_answer_json(request, MHD_HTTP_OK, value);
	}
}

static void on_worked(uv_work_t *work, int status)
{
	struct upload *upload = work->data;
	(void)status;
	upload->is_working = false;
	if (upload->is_given_up) {
		upload_free(upload);
		return;
	}
	struct request *request = upload->request;
	if (request->phase != REQUEST_WAITING)
		return; /* the service is stopping and has answered */
	answer_upload(upload);
	request_wake(request);
	server_turn(&request->service->server);
}

void on_upload(struct request *request)
{
	struct upload *upload = (struct upload *)request->state;
	struct error err;
	if (upload->is_gzip && !upload->is_gzip_over) {
		request_fail(request, MHD_HTTP_BAD_REQUEST, "the gzip data is cut short");
		return;
	}
	if (jsonstream_end(&upload->json, &err) < 0) {
		request_fail(request, MHD_HTTP_BAD_REQUEST, "the answer is not JSON: %s",
			     err.message);
		return;
	}
	upload->work.data = upload;
	if (uv_queue_work(&request->service->loop, &upload->work, on_work, on_worked) < 0) {
		request_fail(request, MHD_HTTP_SERVICE_UNAVAILABLE, "try again later");
		return;
	}
	upload->is_working = true;
	request_wait(request);
}
