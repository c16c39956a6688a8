/* The scalar members of an object whose whole text nobody can or will parse. Containers are skipped by
 * their brackets and quotes alone: no depth and no number of values makes a difference. */
#include "base/json.h"
#include "base/json_scan.h"

#include <string.h>

struct skim {
	const char *at;
	const char *end;
	struct buf out; /* the object without its containers */
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_space(struct skim *skim)
{
	while (skim->at < skim->end && is_space(*skim->at))
		skim->at++;
}

static bool take(struct skim *skim, char c)
{
	skip_space(skim);
	if (skim->at == skim->end || *skim->at != c)
		return false;
	skim->at++;
	return true;
}

/* From behind the opening quote to behind the closing one; NULL: there is none. */
static const char *skip_string(const char *at, const char *end)
{
	while (at < end) {
		char c = *at++;
		if (c == '"')
			return at;
		if (c == '\\' && at < end)
			at++;
	}
	return NULL;
}

const char *json_skip_container(const char *at, const char *end)
{
	size_t depth = 0;
	while (at < end) {
		char c = *at++;
		if (c == '"' && (at = skip_string(at, end)) == NULL)
			return NULL;
		if (c == '[' || c == '{')
			depth++;
		else if ((c == ']' || c == '}') && --depth == 0)
			return at;
	}
	return NULL;
}

static bool move_to(struct skim *skim, const char *at)
{
	if (at == NULL)
		return false;
	skim->at = at;
	return true;
}

static bool skip_scalar(struct skim *skim)
{
	const char *begin = skim->at;
	if (take(skim, '"'))
		return move_to(skim, skip_string(skim->at, skim->end));
	while (skim->at < skim->end && strchr(",}] \t\r\n", *skim->at) == NULL)
		skim->at++;
	return skim->at > begin;
}

/* A member, which is kept where its value is no container. */
static bool do_member(struct skim *skim)
{
	skip_space(skim);
	const char *key = skim->at;
	if (!take(skim, '"') || !move_to(skim, skip_string(skim->at, skim->end)) ||
	    !take(skim, ':'))
		return false;
	skip_space(skim);
	if (skim->at < skim->end && (*skim->at == '{' || *skim->at == '['))
		return move_to(skim, json_skip_container(skim->at, skim->end));
	if (!skip_scalar(skim))
		return false;
	if (skim->out.size > 1)
		buf_append_char(&skim->out, ',');
	buf_append(&skim->out, key, (size_t)(skim->at - key));
	return true;
}

static bool do_object(struct skim *skim)
{
	if (!take(skim, '{'))
		return false;
	buf_append_char(&skim->out, '{');
	bool is_end = take(skim, '}');
	while (!is_end) {
		if (!do_member(skim))
			return false;
		is_end = take(skim, '}');
		if (!is_end && !take(skim, ','))
			return false;
	}
	buf_append_char(&skim->out, '}');
	skip_space(skim);
	return skim->at == skim->end;
}

int json_skim(const char *text, size_t size, struct json_object **out, struct error *err)
{
	struct skim skim = {.at = text, .end = text + size, .out = BUF_INIT(size + 2)};
	int rc;
	if (!do_object(&skim))
		rc = error_set(err, ERR_SYNTAX, "this is no JSON object");
	else if ((rc = buf_check(&skim.out, "an object", err)) == 0)
		rc = json_parse_object(buf_str(&skim.out), skim.out.size, out, err);
	buf_wipe(&skim.out);
	return rc;
}
