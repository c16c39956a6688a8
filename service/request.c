#include "service/request.h"

#include "base/log.h"
#include "base/str.h"
#include "service/routes.h"
#include "service/service.h"

#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
	MESSAGE_MAX = 64 * 1024,
	ANSWERS_MAX = 256 * 1024 * 1024, /* answers in memory at a time, all together … */
	ANSWER_SMALL = 1024 * 1024,      /* … beyond which only such as this may come */
};

const char *http_reason(unsigned status)
{
	const char *reason = MHD_get_reason_phrase_for(status);
	return reason ? reason : "Error";
}

const char *request_header(const struct request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
	/* Fails only without memory or for a value that could not stand in a header: then the
	 * answer goes without it. */
	(void)MHD_add_response_header(response, name, value);
}

void request_answer_with(struct request *request, unsigned status, struct MHD_Response *response,
			 size_t bytes)
{
	request->answer_bytes = bytes;
	request->service->server.answer_bytes += bytes;
	add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (request->service->server.is_stopping)
		add_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	request->status = status;
	request->response = response;
}

/* Answers that must be possible even without memory for them. */
static struct MHD_Response *last_resort(unsigned *status)
{
	static char text[] = "{\"statusCode\":500,\"error\":\"Internal Server Error\","
			     "\"message\":\"not enough memory for the answer\"}";
	*status = MHD_HTTP_INTERNAL_SERVER_ERROR;
	return MHD_create_response_from_buffer(sizeof text - 1, text, MHD_RESPMEM_PERSISTENT);
}

void request_answer(struct request *request, unsigned status, struct buf *body)
{
	struct MHD_Response *response = NULL;
	size_t size = 0;
	if (!body->failed) {
		char *bytes = buf_detach(body, &size);
		response = MHD_create_response_from_buffer(size, bytes, MHD_RESPMEM_MUST_FREE);
		if (!response)
			free(bytes);
	}
	buf_release(body);
	if (!response)
		response = last_resort(&status);
	if (!response)
		abort(); /* some hundred bytes are not to be had: see base/mem.h */
	add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	request_answer_with(request, status, response, size);
}

void request_answer_json(struct request *request, unsigned status, struct json_object *value)
{
	struct buf body = BUF_INIT(SIZE_MAX / 2);
	(void)json_write(&body, value); /* a failure stays in body */
	json_object_put(value);
	request_answer(request, status, &body);
}

void request_fail(struct request *request, unsigned status, const char *format, ...)
{
	struct buf text = BUF_INIT(MESSAGE_MAX);
	struct buf message = BUF_INIT(8 * MESSAGE_MAX);
	va_list args;
	va_start(args, format);
	(void)buf_vprintf(&text, format, args); /* cut to nothing where it does not fit */
	va_end(args);
	/* It may quote a path or a header, which need not be UTF-8. */
	str_append_printable(&message, buf_str(&text), text.size, MESSAGE_MAX);
	buf_release(&text);
	struct json_object *value = json_new_object();
	json_set_int64(value, "statusCode", status);
	json_set_text(value, "error", http_reason(status));
	json_set(value, "message", json_new_string(buf_str(&message), message.size));
	buf_release(&message);
	request_answer_json(request, status, value);
	if (status == MHD_HTTP_UNAUTHORIZED)
		add_header(request->response, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
			   "Bearer realm=\"command-service\"");
	if (status == MHD_HTTP_SERVICE_UNAVAILABLE)
		add_header(request->response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
}

/* The requestor is not told where the database lies; the log says it. */
void request_fail_store(struct request *request, const struct error *err)
{
	service_note_storage(request->service, err);
	request_fail(
	    request, MHD_HTTP_SERVICE_UNAVAILABLE,
	    "the service cannot use its storage now, nothing was changed: try again later");
}

size_t request_room(const struct request *request, size_t max)
{
	uint64_t taken = request->service->server.answer_bytes;
	size_t room = taken < ANSWERS_MAX ? ANSWERS_MAX - (size_t)taken : 0;
	if (room < ANSWER_SMALL)
		room = ANSWER_SMALL;
	return room < max ? room : max;
}

void request_fail_room(struct request *request)
{
	request_fail(
	    request, MHD_HTTP_SERVICE_UNAVAILABLE,
	    "too many large answers are on their way now, to clients that are slow to read "
	    "them: try again later, or ask for less at a time");
}

void request_unanswer(struct request *request)
{
	request->service->server.answer_bytes -= request->answer_bytes;
	request->answer_bytes = 0;
	if (request->response)
		MHD_destroy_response(request->response);
	request->response = NULL;
	request->status = 0;
}

bool request_is_abandoned(const struct request *request)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!info)
		return true;
	struct pollfd state = {.fd = info->connect_fd, .events = POLLRDHUP};
	return poll(&state, 1, 0) > 0;
}

static bool is_host(const char *text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-_:[]";
	size_t length = strlen(text);
	return length > 0 && length < 300 && strspn(text, allowed) == length;
}

int request_base_url(const struct request *request, struct buf *out, struct error *err)
{
	const struct service_settings *settings = request->service->settings;
	const char *host = request_header(request, MHD_HTTP_HEADER_HOST);
	if (settings->public_url)
		return buf_append_str(out, settings->public_url);
	if (!host || !is_host(host))
		return error_set(err, ERR_INVALID,
				 "the Host header must be the host and port of this service");
	return buf_printf(out, "%s://%s", settings->tls_cert ? "https" : "http", host);
}
