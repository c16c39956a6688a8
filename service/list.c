#include "base/clock.h"
#include "base/str.h"
#include "service/calls.h"
#include "service/jsonout.h"
#include "service/record.h"
#include "service/routes.h"
#include "service/service.h"

#include <string.h>

enum {
	SIZE_DEFAULT = 100,
	SIZE_MAX_HITS = 200,
	FROM_MAX = 1000000000,
	ANSWER_BYTES_MAX = 64 * 1024 * 1024,
};

struct listing {
	struct search search;
	struct problems problems;
};

/* ---- Parameters: one function each, found by name */

struct parameter {
	const char *name;
	void (*read)(struct listing *listing, const struct query_parameter *parameter, int detail);
	int detail;
};

static void add_value(struct listing *listing, const struct query_parameter *parameter,
		      const char **values, size_t *count)
{
	if (*count == SEARCH_VALUES_MAX)
		problems_add(&listing->problems, "%s is given more than %d times", parameter->name,
			     SEARCH_VALUES_MAX);
	else
		values[(*count)++] = parameter->value;
}

static void read_target(struct listing *listing, const struct query_parameter *parameter,
			int detail)
{
	(void)detail;
	add_value(listing, parameter, listing->search.targets, &listing->search.target_count);
}

static void read_action(struct listing *listing, const struct query_parameter *parameter,
			int detail)
{
	(void)detail;
	add_value(listing, parameter, listing->search.actions, &listing->search.action_count);
}

static void read_status(struct listing *listing, const struct query_parameter *parameter,
			int detail)
{
	enum command_status status = status_find(parameter->value);
	(void)detail;
	if (status == STATUS_COUNT) {
		problems_add(&listing->problems,
			     "status must be one of CREATED, UNSENT, PENDING, PROCESSING, SUCCESS, "
			     "FAILURE, REJECTED, EXPIRED, PURGED, ERROR, not %s",
			     parameter->value);
		return;
	}
	listing->search.statuses[status] = true;
	listing->search.any_status = false;
}

enum { END_BEFORE = 0, END_AFTER = 16 }; /* added to the enum search_key */

static void read_range(struct listing *listing, const struct query_parameter *parameter, int detail)
{
	struct error err;
	int64_t time_ms;
	struct search_range *range = &listing->search.range[detail & ~END_AFTER];
	if (clock_parse(parameter->value, &time_ms, &err) < 0)
		problems_add(&listing->problems, "%s: %s", parameter->name, err.message);
	else if (detail & END_AFTER)
		range->from = time_ms;
	else
		range->to = time_ms;
}

static void read_from(struct listing *listing, const struct query_parameter *parameter, int detail)
{
	int64_t number = 0;
	(void)detail;
	query_number(parameter, 0, FROM_MAX, &number, &listing->problems);
	listing->search.from = (size_t)number;
}

static void read_size(struct listing *listing, const struct query_parameter *parameter, int detail)
{
	int64_t number = SIZE_DEFAULT;
	(void)detail;
	query_number(parameter, 1, SIZE_MAX_HITS, &number, &listing->problems);
	listing->search.size = (size_t)number;
}

static void read_sort(struct listing *listing, const struct query_parameter *parameter, int detail)
{
	(void)detail;
	listing->search.is_ascending = strcmp(parameter->value, "asc") == 0;
	if (!listing->search.is_ascending && strcmp(parameter->value, "desc") != 0)
		problems_add(&listing->problems, "sort must be asc or desc, not %s",
			     parameter->value);
}

static void read_sort_by(struct listing *listing, const struct query_parameter *parameter,
			 int detail)
{
	static const struct {
		const char *name;
		enum search_key key;
		enum search_group group;
	} orders[] = {
	    {"createdAt", SEARCH_CREATED, GROUP_NONE}, {"updatedAt", SEARCH_UPDATED, GROUP_NONE},
	    {"expiresAt", SEARCH_EXPIRES, GROUP_NONE}, {"status", SEARCH_CREATED, GROUP_STATUS},
	    {"action", SEARCH_CREATED, GROUP_ACTION},  {"targetId", SEARCH_CREATED, GROUP_TARGET},
	};
	(void)detail;
	for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
		if (strcmp(orders[i].name, parameter->value) != 0)
			continue;
		listing->search.key = orders[i].key;
		listing->search.group = orders[i].group;
		return;
	}
	problems_add(&listing->problems,
		     "sortBy must be one of createdAt, updatedAt, expiresAt, status, action, "
		     "targetId, not %s",
		     parameter->value);
}

static const struct parameter parameters[] = {
    {"targetId", read_target, 0},
    {"action", read_action, 0},
    {"status", read_status, 0},
    {"createdAtBefore", read_range, SEARCH_CREATED | END_BEFORE},
    {"createdAtAfter", read_range, SEARCH_CREATED | END_AFTER},
    {"toDate", read_range, SEARCH_CREATED | END_BEFORE}, /* older names of the same */
    {"fromDate", read_range, SEARCH_CREATED | END_AFTER},
    {"updatedAtBefore", read_range, SEARCH_UPDATED | END_BEFORE},
    {"updatedAtAfter", read_range, SEARCH_UPDATED | END_AFTER},
    {"expiresAtBefore", read_range, SEARCH_EXPIRES | END_BEFORE},
    {"expiresAtAfter", read_range, SEARCH_EXPIRES | END_AFTER},
    {"from", read_from, 0},
    {"size", read_size, 0},
    {"sort", read_sort, 0},
    {"sortBy", read_sort_by, 0},
};

static void read_metadata(struct listing *listing, const struct query_parameter *parameter)
{
	struct search *search = &listing->search;
	if (search->pair_count == SEARCH_VALUES_MAX)
		problems_add(&listing->problems, "more than %d metadata filters",
			     SEARCH_VALUES_MAX);
	else
		search->pairs[search->pair_count++] =
		    (struct metadata_pair){parameter->name + strlen("metadata."), parameter->value};
}

static void read_unknown(struct listing *listing, const struct query_parameter *parameter)
{
	const char *names[sizeof parameters / sizeof *parameters + 1] = {0};
	for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
		names[i] = parameters[i].name;
	const char *meant = str_nearest(parameter->name, names);
	problems_add(&listing->problems, "unknown query parameter %s%s%s%s", parameter->name,
		     meant ? " (did you mean " : "", meant ? meant : "", meant ? "?)" : "");
}

static void read_parameter(struct listing *listing, const struct query_parameter *parameter)
{
	for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
		if (strcmp(parameters[i].name, parameter->name) == 0) {
			parameters[i].read(listing, parameter, parameters[i].detail);
			return;
		}
	}
	if (str_has_prefix(parameter->name, "metadata.") && parameter->name[9] != '\0')
		read_metadata(listing, parameter);
	else
		read_unknown(listing, parameter);
}

/* The values stay borrowed from the request. */
static int read_search(struct request *request, struct search *search)
{
	struct listing listing = {.search = {
				      .org = request->token.org,
				      .any_status = true,
				      .size = SIZE_DEFAULT,
				  }};
	struct query query;
	for (size_t i = 0; i < 3; i++)
		listing.search.range[i] = (struct search_range){INT64_MIN, INT64_MAX};
	if (query_read(request, &query) < 0)
		return ERR_INVALID;
	for (size_t i = 0; i < query.count; i++)
		read_parameter(&listing, &query.items[i]);
	int rc = call_check(request, &listing.problems);
	problems_release(&listing.problems);
	*search = listing.search;
	return rc;
}

/* ---- The page */

static int write_hits(struct request *request, const int64_t *seqs, size_t count,
		      const char *base_url, struct buf *out, struct error *err)
{
	struct store *store = request->service->store;
	struct command command;
	for (size_t i = 0; i < count && !out->failed; i++) {
		int rc = store_command_get(store, seqs[i], &command, err);
		if (rc == 0)
			rc = record_append(out, store, &command, base_url, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int write_page(struct request *request, const struct search *search, const char *base_url,
		      struct buf *out, struct error *err)
{
	int64_t seqs[SIZE_MAX_HITS];
	size_t count = 0;
	bool has_next = false;
	int rc = store_search(request->service->store, search, seqs, &count, &has_next, err);
	if (rc < 0)
		return rc;
	out_open(out, NULL, '{');
	out_open(out, "hits", '[');
	rc = write_hits(request, seqs, count, base_url, out, err);
	out_close(out, ']');
	out_bool(out, "hasNext", has_next);
	out_number(out, "from", (int64_t)search->from);
	out_number(out, "size", (int64_t)search->size);
	out_text(out, "sort", search->is_ascending ? "asc" : "desc");
	out_close(out, '}');
	return rc;
}

void on_search(struct request *request)
{
	struct search search;
	struct error err;
	struct buf base_url = BUF_INIT(2048);
	struct buf out = BUF_INIT(request_room(request, ANSWER_BYTES_MAX));
	if (read_search(request, &search) < 0)
		return;
	if (request_base_url(request, &base_url, &err) < 0)
		request_fail(request, MHD_HTTP_BAD_REQUEST, "%s", err.message);
	else if (write_page(request, &search, buf_str(&base_url), &out, &err) < 0)
		request_fail_store(request, &err);
	else if (out.failed == ERR_LIMIT && out.max < ANSWER_BYTES_MAX)
		request_fail_room(request);
	else if (out.failed)
		request_fail(request, MHD_HTTP_BAD_REQUEST,
			     "these records are larger than %d bytes together: ask for fewer at a "
			     "time, with size=",
			     ANSWER_BYTES_MAX);
	else
		request_answer(request, MHD_HTTP_OK, &out);
	buf_release(&base_url);
	buf_release(&out);
}
