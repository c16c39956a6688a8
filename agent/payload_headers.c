#include "agent/payload_headers.h"

#include "agent/limits.h"
#include "base/json.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

/* The agent sets the framing of its requests itself: these from a requestor are dropped. */
static const char *const FRAMING_HEADERS[] = {"Content-Length", "Transfer-Encoding", "Connection",
					      "Expect", NULL};

static bool is_listed(const char *word, const char *const *list)
{
	for (; *list != NULL; list++) {
		if (str_equal_nocase(word, *list))
			return true;
	}
	return false;
}

/* Where a header's value stands: "headers[2]: Accept[0]". */
struct header_place {
	bool is_in_list; /* of objects: */
	size_t item;
	const char *name;
	bool is_in_array; /* of values: */
	size_t index;
};

static void add_header_problem(struct problems *problems, const struct header_place *place,
			       const char *what)
{
	char item[32] = "";
	char index[32] = "";
	if (place->is_in_list)
		snprintf(item, sizeof item, "[%zu]", place->item);
	if (place->is_in_array)
		snprintf(index, sizeof index, "[%zu]", place->index);
	problems_add(problems, "headers%s: %s%s: %s", item, place->name, index, what);
}

/* A header's value as text: strings, numbers and booleans are. */
static void add_header(struct http_headers *headers, const struct header_place *place,
		       struct json_object *value, struct problems *problems)
{
	const char *name = place->name;
	char what[80];
	enum json_type type = json_object_get_type(value);
	if (type != json_type_string && type != json_type_int && type != json_type_double &&
	    type != json_type_boolean) {
		snprintf(what, sizeof what, "must be a string, number or boolean, not %s",
			 json_type_name(value));
		add_header_problem(problems, place, what);
		return;
	}
	const char *text = json_object_get_string(value);
	size_t size =
	    type == json_type_string ? (size_t)json_object_get_string_len(value) : strlen(text);
	if (!str_is_header_value(text, size)) {
		add_header_problem(problems, place, "the value holds CR, LF or NUL");
	} else if (headers->count >= LIMIT_HEADERS) {
		snprintf(what, sizeof what, "more than %d headers", LIMIT_HEADERS);
		add_header_problem(problems, place, what);
	} else if (!is_listed(name, FRAMING_HEADERS)) {
		http_headers_add(headers, name, text);
	}
}

static void parse_header(struct http_headers *headers, const struct header_place *at,
			 struct json_object *value, struct problems *problems)
{
	struct header_place place = *at;
	if (!json_object_is_type(value, json_type_array)) {
		add_header(headers, &place, value, problems);
		return;
	}
	size_t count = json_object_array_length(value);
	place.is_in_array = true;
	for (place.index = 0; place.index < count && place.index <= LIMIT_HEADERS; place.index++)
		add_header(headers, &place, json_object_array_get_idx(value, place.index),
			   problems);
}

/* place is that of the object. */
static void parse_header_object(struct http_headers *headers, struct header_place place,
				struct json_object *object, struct problems *problems)
{
	json_object_object_foreach(object, name, value)
	{
		place.name = name;
		if (str_is_token(name, strlen(name)))
			parse_header(headers, &place, value, problems);
		else if (place.is_in_list)
			problems_add(problems, "headers[%zu]: \"%s\" is not a header name",
				     place.item, name);
		else
			problems_add(problems, "headers: \"%s\" is not a header name", name);
	}
}

void payload_parse_headers(struct http_headers *headers, struct json_object *json,
			   struct problems *problems)
{
	if (json == NULL)
		return;
	if (json_object_is_type(json, json_type_object)) {
		parse_header_object(headers, (struct header_place){0}, json, problems);
		return;
	}
	if (!json_object_is_type(json, json_type_array)) {
		problems_add(problems, "headers: must be an object or an array of objects, not %s",
			     json_type_name(json));
		return;
	}
	size_t count = json_object_array_length(json);
	for (size_t i = 0; i < count; i++) {
		struct json_object *item = json_object_array_get_idx(json, i);
		struct header_place place = {.is_in_list = true, .item = i};
		if (json_object_is_type(item, json_type_object))
			parse_header_object(headers, place, item, problems);
		else
			problems_add(problems, "headers[%zu]: must be an object, not %s", i,
				     json_type_name(item));
	}
}
