#include "agent/tdp_message.h"

#include "agent/command.h"
#include "base/json.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { CUT_BYTES = 100, WORD_MAX = 16, KEYS_MAX = 12 };

static int read_attempt(struct json_object *json)
{
	const char *text;
	int64_t count;
	struct error err;
	if (json_get_text(json_member(json, "Attributes"), "ApproximateReceiveCount", &text,
			  &err) != 0 ||
	    !str_to_int64(text, &count) || count < 1 || count > INT32_MAX)
		return 1;
	return (int)count;
}

static const char *text_or(struct json_object *json, const char *key, const char *otherwise)
{
	const char *text;
	struct error err;
	return json_get_text(json, key, &text, &err) == 0 ? text : otherwise;
}

int tdp_message_read(struct tdp_message *message, struct json_object *json, struct error *err)
{
	const char *body;
	const char *id;
	size_t size;
	struct json_object *command = NULL;
	*message = (struct tdp_message){
	    .id = text_or(json, "MessageId", ""),
	    .receipt = text_or(json, "ReceiptHandle", NULL),
	    .attempt = read_attempt(json),
	};
	if (json_get_string(json, "Body", &body, &size, err) != 0)
		return error_set(err, ERR_INVALID, "it has no body");
	if (command_read_text(body, size, &command, &message->problem, err) != 0)
		return error_set(err, ERR_INVALID, "it is no JSON object");
	if (command_read_id(command, &id, err) != 0) {
		json_object_put(command);
		return error_set(err, ERR_INVALID, "it has no %scommandId",
				 err->code == ERR_LIMIT ? "usable " : "");
	}
	message->command = command;
	message->text = (struct json_span){.text = body, .size = size};
	return 0;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-' || c == '+' || c == '/' || (unsigned char)c >= 0x80;
}

/* May be shown: short, and only letters. Tokens, keys and passwords are something else, or
 * stand behind a mark that says so. */
static bool is_harmless(const char *word, size_t size)
{
	if (size > WORD_MAX)
		return false;
	for (size_t i = 0; i < size; i++) {
		char c = (char)(word[i] | 0x20);
		if (c < 'a' || c > 'z')
			return false;
	}
	return true;
}

static bool announces_secret(const char *word, size_t size)
{
	return (size == 6 && strncasecmp(word, "bearer", size) == 0) ||
	       (size == 5 && strncasecmp(word, "basic", size) == 0);
}

/* Words are kept where they are harmless; behind ':' and '=' all is masked until the value has
 * ended for sure. */
static void append_masked(struct buf *out, const char *text, size_t size)
{
	bool is_value = false;
	for (size_t i = 0; i < size;) {
		size_t end = i;
		while (end < size && is_word(text[end]))
			end++;
		if (end > i) {
			bool is_shown = !is_value && is_harmless(text + i, end - i);
			str_append_printable(out, is_shown ? text + i : "***",
					     is_shown ? end - i : 3, CUT_BYTES);
			is_value = is_value || announces_secret(text + i, end - i);
			i = end;
			continue;
		}
		if (text[i] == ':' || text[i] == '=')
			is_value = true;
		else if (strchr(",;&{}[]\n", text[i]) != NULL)
			is_value = false;
		str_append_printable(out, text + i, 1, CUT_BYTES);
		i++;
	}
}

/* Of an object the names of its members, of other text its beginning. */
void tdp_message_append_cut(struct buf *out, struct json_object *json)
{
	const char *body;
	size_t size;
	struct json_object *object = NULL;
	struct error err;
	if (json_get_string(json, "Body", &body, &size, &err) != 0)
		return;
	if (json_parse_object(body, size, &object, &err) != 0) {
		size_t cut = str_cut(body, size, CUT_BYTES);
		append_masked(out, body, cut);
		buf_append_str(out, cut < size ? "…" : "");
		return;
	}
	size_t count = 0;
	json_object_object_foreach(object, key, member)
	{
		(void)member; /* the loop's macro declares it */
		if (count++ == KEYS_MAX)
			break;
		buf_append_str(out, count > 1 ? ", " : "an object with ");
		append_masked(out, key, str_cut(key, strlen(key), CUT_BYTES));
	}
	json_object_put(object);
}
