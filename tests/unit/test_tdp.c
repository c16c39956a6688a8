#include "agent/sqs.h"
#include "agent/tdp_config.h"
#include "agent/tdp_lane.h"
#include "agent/tdp_message.h"
#include "base/clock.h"
#include "base/json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct json_object *parse(const char *text)
{
	struct json_object *json = NULL;
	struct error err;

	cr_assert_eq(json_parse(text, strlen(text), &json, &err), 0, "%s", err.message);
	return json;
}

static int read_config(struct tdp_config *config, const char *text, struct error *err)
{
	struct json_object *json = parse(text);
	int rc = tdp_config_read(config, json, err);

	json_object_put(json);
	return rc;
}

Test(tdp_config, names_region_and_queues)
{
	struct tdp_config config = {0};
	struct error err;

	cr_assert_eq(
	    read_config(&config,
			"{\"region\":\"us-east-2\",\"rpcSourceQueueUrl\":\"https://q/1/a.fifo\","
			"\"rpcPlatformQueueUrl\":\"http://127.0.0.1:9324/1/b\"}",
			&err),
	    0);
	cr_assert_str_eq(config.region, "us-east-2");
	cr_assert_str_eq(config.source_queue, "https://q/1/a.fifo");
	cr_assert_str_eq(config.platform_queue, "http://127.0.0.1:9324/1/b");
	tdp_config_release(&config);
	cr_assert_null(config.region);
}

Test(tdp_config, says_that_the_queue_is_not_enabled)
{
	static const char *const texts[] = {
	    "{\"region\":\"r\",\"rpcSourceQueueUrl\":null,\"rpcPlatformQueueUrl\":\"https://q/\"}",
	    "{\"region\":\"r\",\"rpcPlatformQueueUrl\":\"https://q/\"}"};
	for (size_t i = 0; i < 2; i++) {
		struct tdp_config config = {0};
		struct error err;
		cr_assert_eq(read_config(&config, texts[i], &err), ERR_NOT_FOUND);
		cr_assert_not_null(
		    strstr(err.message, "the agent's command queue is not enabled in TDP"));
		cr_assert_null(config.platform_queue);
	}
}

Test(tdp_config, refuses_what_makes_no_sense)
{
	static const char *const texts[] = {
	    "{\"region\":\"r\",\"rpcSourceQueueUrl\":7,\"rpcPlatformQueueUrl\":\"https://q/\"}",
	    "{\"region\":\"r\",\"rpcSourceQueueUrl\":\"file:///"
	    "etc\",\"rpcPlatformQueueUrl\":\"https://q/\"}",
	    "{\"region\":\"a\\r\\nb\",\"rpcSourceQueueUrl\":\"https://q/"
	    "\",\"rpcPlatformQueueUrl\":\"https://q/\"}",
	    "{\"rpcSourceQueueUrl\":\"https://q/\",\"rpcPlatformQueueUrl\":\"https://q/\"}"};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct tdp_config config = {0};
		struct error err;
		cr_assert_eq(read_config(&config, texts[i], &err), ERR_INVALID, "%s", texts[i]);
		cr_assert_null(config.source_queue);
	}
}

Test(tdp_config, tells_tdp_from_a_plain_service)
{
	static const struct {
		const char *text;
		bool is_tdp;
	} cases[] = {
	    {"{\"rpcSourceQueueUrl\":\"https://q/\"}", true},
	    {"{\"rpcSourceQueueUrl\":null,\"rpcPlatformQueueUrl\":\"https://q/\"}", true},
	    {"{\"rpcSourceQueueUrl\":null,\"rpcPlatformQueueUrl\":null}", false},
	    {"{}", false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct json_object *json = parse(cases[i].text);
		cr_assert_eq(tdp_config_is_tdp(json), cases[i].is_tdp, "%s", cases[i].text);
		json_object_put(json);
	}
}

Test(sqs, codes_are_read_however_they_are_wrapped)
{
	char code[SQS_CODE_MAX];

	sqs_code_of("com.amazonaws.sqs#QueueDoesNotExist", code);
	cr_assert_str_eq(code, "QueueDoesNotExist");
	sqs_code_of("ExpiredTokenException:http://internal.amazon.com/coral/", code);
	cr_assert_str_eq(code, "ExpiredTokenException");
	sqs_code_of("AWS.SimpleQueueService.NonExistentQueue;Sender", code);
	cr_assert_str_eq(code, "AWS.SimpleQueueService.NonExistentQueue");
	sqs_code_of("\"}{ \n", code);
	cr_assert_str_eq(code, "");
}

Test(sqs, entries_are_known_by_their_ids)
{
	struct json_object *entry = sqs_entry(7);
	cr_assert_eq(sqs_entry_index(entry, 10), 7);
	cr_assert_eq(sqs_entry_index(entry, 7), -1);
	json_object_put(entry);
	entry = parse("{\"Id\":\"-1\"}");
	cr_assert_eq(sqs_entry_index(entry, 10), -1);
	json_object_put(entry);
	entry = parse("{\"Id\":3}");
	cr_assert_eq(sqs_entry_index(entry, 10), -1);
	json_object_put(entry);
}

Test(sqs, throttling_does_not_last_and_invalid_contents_do)
{
	cr_assert(sqs_is_lasting("InvalidMessageContents"));
	cr_assert(!sqs_is_lasting("ThrottlingException"));
	cr_assert(!sqs_is_lasting("OverLimit"));
	cr_assert(!sqs_is_lasting(""));
}

Test(tdp_message, has_its_command_receipt_and_count)
{
	struct json_object *json = parse("{\"MessageId\":\"m\",\"ReceiptHandle\":\"r\",\"Body\":\"{"
					 "\\\"commandId\\\":\\\"c\\\"}\","
					 "\"Attributes\":{\"ApproximateReceiveCount\":\"3\"}}");
	struct tdp_message message;
	struct error err;

	cr_assert_eq(tdp_message_read(&message, json, &err), 0);
	cr_assert_str_eq(message.id, "m");
	cr_assert_str_eq(message.receipt, "r");
	cr_assert_eq(message.attempt, 3);
	cr_assert_eq(message.text.size, strlen("{\"commandId\":\"c\"}"));
	json_object_put(message.command);
	json_object_put(json);
}

Test(tdp_message, without_a_command_can_still_be_deleted)
{
	static const char *const bodies[] = {"no", "[]", "{}", "{\\\"commandId\\\":7}",
					     "{\\\"commandId\\\":\\\"\\\"}"};
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		char text[200];
		struct tdp_message message;
		struct error err;
		snprintf(text, sizeof text, "{\"ReceiptHandle\":\"r\",\"Body\":\"%s\"}", bodies[i]);
		struct json_object *json = parse(text);
		cr_assert_eq(tdp_message_read(&message, json, &err), ERR_INVALID);
		cr_assert_str_eq(message.receipt, "r");
		cr_assert_str_eq(message.id, "");
		cr_assert_eq(message.attempt, 1);
		json_object_put(json);
	}
}

static void assert_cut(const char *body, const char *expected)
{
	struct json_object *json = json_new_object();
	struct buf cut = BUF_INIT(1000);

	json_set_text(json, "Body", body);
	tdp_message_append_cut(&cut, json);
	cr_assert_str_eq(buf_str(&cut), expected);
	buf_release(&cut);
	json_object_put(json);
}

Test(tdp_message, a_cut_shows_no_secret)
{
	assert_cut("hello there", "hello there");
	assert_cut("password=swordfish and more", "password=*** *** ***");
	assert_cut("{\"password\": \"sword fish\", \"a", "{\"password\": \"*** ***\", \"a");
	assert_cut("Bearer swordfish", "Bearer ***");
	assert_cut("key4u", "***");
	assert_cut("abcdefghijklmnopqrstuvwxyz", "***");
	assert_cut("{\"token\":\"x\",\"s3cr3t\":1}", "an object with token, ***");
	assert_cut("a\nb", "a\\nb");
}

static size_t in_flight_now;

static size_t in_flight(void *context)
{
	(void)context;
	return in_flight_now;
}

Test(tdp_pace, waits_only_under_load_and_never_long)
{
	struct tdp_pace pace = {.in_flight = in_flight};

	in_flight_now = 15;
	cr_assert_eq(tdp_pace_gather_ms(&pace), 0);
	in_flight_now = 16;
	cr_assert_gt(tdp_pace_gather_ms(&pace), 0);
	/* Long ago: says nothing about now. */
	for (size_t i = 0; i < TDP_PACE_SAMPLES; i++)
		pace.ended_ms[i] = clock_monotonic_ms() - 100000;
	cr_assert_leq(tdp_pace_gather_ms(&pace), 50);
	/* One in 62 ms: a dozen takes three quarters of a second. */
	for (size_t i = 0; i < TDP_PACE_SAMPLES; i++)
		pace.ended_ms[i] = clock_monotonic_ms() - (int64_t)(TDP_PACE_SAMPLES - i) * 62;
	int64_t gather_ms = tdp_pace_gather_ms(&pace);
	cr_assert(gather_ms > 600 && gather_ms < 900, "%lld", (long long)gather_ms);
	/* One command in two seconds: as long as it may be. */
	memset(pace.ended_ms, 0, sizeof pace.ended_ms);
	pace.ended_ms[0] = clock_monotonic_ms() - 1900;
	cr_assert_eq(tdp_pace_gather_ms(&pace), 1000);
	pace.is_hurried = true;
	cr_assert_eq(tdp_pace_gather_ms(&pace), 0);
}
