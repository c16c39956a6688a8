#include "service/calls.h"
#include "service/record.h"
#include "service/routes.h"
#include "service/service.h"
#include "service/spool.h"

#include "base/str.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* ---- Ranges (RFC 9110, 14): one range of bytes; anything else gets the whole */

struct byte_range {
	uint64_t first;
	uint64_t size;
	bool is_partial;
	bool is_unsatisfiable;
};

/* Digits alone; false where there are none or too many. */
static bool take_number(const char **text, uint64_t *number)
{
	const char *begin = *text;
	uint64_t value = 0;
	while (**text >= '0' && **text <= '9' && *text - begin < 18)
		value = value * 10 + (uint64_t)(*(*text)++ - '0');
	*number = value;
	return *text > begin;
}

static void read_range(const char *text, uint64_t total, struct byte_range *range)
{
	uint64_t first = 0, last = UINT64_MAX;
	*range = (struct byte_range){.size = total};
	if (!text || strncasecmp(text, "bytes=", 6) != 0)
		return;
	text += 6;
	bool has_first = take_number(&text, &first);
	if (*text++ != '-')
		return;
	bool has_last = take_number(&text, &last);
	if (*text != '\0' || (!has_first && !has_last) || (has_first && has_last && last < first))
		return;
	if (!has_first) { /* the last so many bytes */
		first = last < total ? total - last : 0;
		range->is_unsatisfiable = last == 0;
		has_last = false;
	}
	range->is_unsatisfiable |= first >= total;
	range->is_partial = true;
	range->first = first;
	range->size = first < total ? total - first : 0;
	if (has_last && last - first + 1 < range->size)
		range->size = last - first + 1;
}

/* With If-Range only for the version that the client has a part of. */
static void find_range(const struct request *request, const char *etag, uint64_t total,
		       struct byte_range *range)
{
	const char *if_range = request_header(request, MHD_HTTP_HEADER_IF_RANGE);
	bool is_wanted = !if_range || strcmp(if_range, etag) == 0;
	read_range(is_wanted ? request_header(request, MHD_HTTP_HEADER_RANGE) : NULL, total, range);
}

static void refuse_range(struct request *request, uint64_t total)
{
	char text[64];
	(void)snprintf(text, sizeof text, "bytes */%" PRIu64, total);
	request_fail(request, MHD_HTTP_RANGE_NOT_SATISFIABLE, "the answer has %" PRIu64 " bytes",
		     total);
	(void)MHD_add_response_header(request->response, MHD_HTTP_HEADER_CONTENT_RANGE,
				      text); /* else without it */
}

static void answer_range(struct request *request, struct MHD_Response *response, const char *etag,
			 uint64_t total, const struct byte_range *range, size_t bytes)
{
	char text[96];
	(void)snprintf(text, sizeof text, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range->first,
		       range->first + range->size - 1, total);
	/* Fixed texts that always fit; without memory the answer goes without them. */
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, etag);
	if (range->is_partial)
		(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_RANGE, text);
	request_answer_with(request, range->is_partial ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK,
			    response, bytes);
}

/* ---- The answer of a command */

static void answer_file(struct request *request, const struct command *command, const char *etag)
{
	struct byte_range range;
	struct error err;
	uint64_t total = 0;
	int fd = -1;
	if (spool_open(request->service->store, command->id, &fd, &total, &err) < 0) {
		request_fail_store(request, &err);
		return;
	}
	find_range(request, etag, total, &range);
	if (range.is_unsatisfiable) {
		(void)close(fd); /* only looked at */
		refuse_range(request, total);
		return;
	}
	struct MHD_Response *response =
	    MHD_create_response_from_fd_at_offset64(range.size, fd, range.first);
	if (!response) {
		(void)close(fd); /* only looked at */
		request_fail(request, MHD_HTTP_SERVICE_UNAVAILABLE, "no memory: try again later");
		return;
	}
	answer_range(request, response, etag, total, &range, 0);
}

static void answer_text(struct request *request, struct span text, const char *etag)
{
	struct byte_range range;
	find_range(request, etag, text.size, &range);
	if (range.is_unsatisfiable) {
		refuse_range(request, text.size);
		return;
	}
	if (range.size > request_room(request, SIZE_MAX)) {
		request_fail_room(request);
		return;
	}
	struct MHD_Response *response = MHD_create_response_from_buffer(
	    range.size, (void *)(uintptr_t)(text.text + range.first), MHD_RESPMEM_MUST_COPY);
	if (!response) {
		request_fail(request, MHD_HTTP_SERVICE_UNAVAILABLE, "no memory: try again later");
		return;
	}
	answer_range(request, response, etag, text.size, &range, range.size);
}

static void answer_inline(struct request *request, const struct command *command, const char *etag)
{
	struct store *store = request->service->store;
	struct command_texts texts;
	struct error err;
	if (store_texts_begin(store, command->seq, &texts, &err) < 0) {
		request_fail_store(request, &err);
		return;
	}
	answer_text(request, texts.response, etag);
	store_texts_end(store);
}

void on_response_get(struct request *request)
{
	struct command command;
	struct error err;
	char etag[UUID_TEXT_SIZE + 2];
	int rc = store_command_find(request->service->store, request->token.org,
				    request->parameters[0], &command, &err);
	if (rc == ERR_NOT_FOUND) {
		request_fail(request, MHD_HTTP_NOT_FOUND, "%s", err.message);
		return;
	}
	if (rc < 0) {
		request_fail_store(request, &err);
		return;
	}
	(void)snprintf(etag, sizeof etag, "\"%s\"", command.id);
	if (command.response == RESPONSE_FILE)
		answer_file(request, &command, etag);
	else if (command.response == RESPONSE_INLINE)
		answer_inline(request, &command, etag);
	else
		request_fail(request, MHD_HTTP_NOT_FOUND, "this command has no answer%s",
			     status_is_terminal(command.status) ? "" : " yet");
}

/* ---- A referenced payload. No room is asked for: an agent that does not get it fails the
 * command. */

void on_body_get(struct request *request)
{
	struct command command;
	struct command_texts texts;
	struct error err;
	struct store *store = request->service->store;
	struct buf out = BUF_INIT(SIZE_MAX / 2);
	if (capability_check(request, URL_BODY, &command) < 0)
		return;
	if (store_texts_begin(store, command.seq, &texts, &err) < 0) {
		request_fail_store(request, &err);
		return;
	}
	(void)buf_append(&out, texts.payload.text, texts.payload.size);
	store_texts_end(store);
	request_answer(request, MHD_HTTP_OK, &out);
}
