#include "agent/command.h"
#include "base/json.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

static struct command *parse(const char *text, struct problems *problems)
{
	struct json_object *json;
	struct error err;
	cr_assert_eq(json_parse(text, strlen(text), &json, &err), 0, "%s", err.message);
	*problems = PROBLEMS_INIT;
	struct command *command = command_new(json, problems, &err);
	json_object_put(json);
	return command;
}

Test(command, all_fields_are_read)
{
	struct problems problems;
	struct command *command =
	    parse("{\"commandId\":\"c-1\",\"targetId\":\"a-1\",\"action\":\"x\",\"createdAt\":"
		  "\"2026-11-21T04:00:16.123Z\","
		  "\"expiresAt\":\"2026-11-21T04:00:16.123456+00:00\",\"bodyDelivery\":"
		  "\"embedded\",\"bodyUrl\":\"http://u/\","
		  "\"responseBodyUploadUrl\":\"http://up/\",\"body\":{\"k\":1},\"other\":1}",
		  &problems);
	cr_assert_eq(problems.count, 0);
	cr_assert_str_eq(command->id, "c-1");
	cr_assert_str_eq(command->target_id, "a-1");
	cr_assert_eq(command->created_at_ms, command->expires_at_ms);
	cr_assert_null(command->body_url, "an embedded body wins");
	cr_assert_str_eq(command->upload_url, "http://up/");
	cr_assert_eq(command->state, COMMAND_RECEIVED);
	command_free(command);
}

Test(command, without_an_id_there_is_nobody_to_answer)
{
	struct problems problems;
	cr_assert_null(parse("{\"action\":\"x\"}", &problems));
	cr_assert_null(parse("{\"commandId\":\"\",\"action\":\"x\"}", &problems));
	cr_assert_null(parse("{\"commandId\":7,\"action\":\"x\"}", &problems));
	cr_assert_null(parse("[]", &problems));
}

static struct command *parse_long(const char *before, size_t letters, const char *after,
				  struct problems *problems)
{
	struct buf text = BUF_INIT(100000);
	buf_append_str(&text, before);
	for (size_t i = 0; i < letters; i++)
		buf_append_char(&text, 'x');
	buf_append_str(&text, after);
	struct command *command = parse(buf_str(&text), problems);
	buf_release(&text);
	return command;
}

Test(command, an_endless_id_cannot_be_answered_with)
{
	struct problems problems;
	struct command *command =
	    parse_long("{\"action\":\"x\",\"commandId\":\"", 1024, "\"}", &problems);
	cr_assert_eq(problems.count, 0);
	cr_assert_eq(strlen(command->id), 1024);
	command_free(command);
	cr_assert_null(parse_long("{\"action\":\"x\",\"commandId\":\"", 1025, "\"}", &problems));
}

Test(command, an_endless_target_id_is_a_problem_and_not_repeated)
{
	struct problems problems;
	const char *before = "{\"commandId\":\"c\",\"action\":\"x\",\"targetId\":\"";
	struct command *command = parse_long(before, 1024, "\"}", &problems);
	cr_assert_eq(problems.count, 0);
	cr_assert_eq(strlen(command->target_id), 1024);
	command_free(command);
	command = parse_long(before, 1025, "\"}", &problems);
	cr_assert_eq(problems.count, 1);
	cr_assert_str_eq(problems.items[0], "targetId: longer than 1024 bytes");
	cr_assert_null(command->target_id);
	problems_release(&problems);
	command_free(command);
}

Test(command, every_wrong_field_is_named)
{
	struct problems problems;
	struct buf list = BUF_INIT(10000);
	struct command *command =
	    parse("{\"commandId\":\"c\",\"targetId\":1,\"createdAt\":\"yesterday\",\"expiresAt\":5,"
		  "\"bodyDelivery\":\"referenced\"}",
		  &problems);
	cr_assert_not_null(command);
	problems_join(&problems, "|", &list);
	cr_assert_not_null(strstr(buf_str(&list), "targetId"));
	cr_assert_not_null(strstr(buf_str(&list), "action: missing"));
	cr_assert_not_null(strstr(buf_str(&list), "createdAt: "));
	cr_assert_not_null(strstr(buf_str(&list), "expiresAt"));
	cr_assert_not_null(strstr(buf_str(&list), "bodyUrl: missing"));
	cr_assert_eq(problems.count, 5);
	cr_assert_eq(command->expires_at_ms, INT64_MAX);
	buf_release(&list);
	problems_release(&problems);
	command_free(command);
}

Test(command, it_never_expires_without_a_date)
{
	struct problems problems;
	struct command *command =
	    parse("{\"commandId\":\"c\",\"action\":\"x\",\"expiresAt\":null}", &problems);
	cr_assert_eq(problems.count, 0);
	cr_assert_eq(command->expires_at_ms, INT64_MAX);
	command_free(command);
}

Test(command, three_actions_are_known)
{
	enum command_kind kind;
	cr_assert(command_kind_of("TetraScience.Connector.gdc.HttpRequest", &kind));
	cr_assert_eq(kind, COMMAND_LEGACY);
	cr_assert(command_kind_of("TetraScience.Connector.http.Request", &kind));
	cr_assert_eq(kind, COMMAND_PLAIN);
	cr_assert(command_kind_of("TetraScience.Connector.http.Request.V2", &kind));
	cr_assert_eq(kind, COMMAND_SEALED);
	cr_assert_not(command_kind_of("tetrascience.connector.http.request", &kind));
}

Test(command, it_cannot_be_executed_twice, .signal = SIGABRT)
{
	struct command command = {.state = COMMAND_DONE};
	command_set_state(&command, COMMAND_EXECUTING);
}
