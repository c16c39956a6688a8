#include "base/json.h"
#include "service/jsonout.h"
#include "service/record.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char id[] = "01a1fd0e-983a-7000-a142-fa22b1dc6fd6";

static struct command some_command(void)
{
	static const struct command empty;
	struct command command = empty;
	memcpy(command.id, id, sizeof id);
	snprintf(command.org, sizeof command.org, "%s", "acme");
	snprintf(command.target, sizeof command.target, "%s", "a \"quoted\" target");
	snprintf(command.action, sizeof command.action, "%s", "act");
	command.status = STATUS_PROCESSING;
	for (size_t i = 0; i < RECEIPT_SIZE; i++)
		command.receipt[i] = (uint8_t)(i * 17);
	return command;
}

Test(service_record, reads_the_receipts_that_it_writes)
{
	struct command command = some_command();
	char text[RECEIPT_TEXT_SIZE], found[UUID_TEXT_SIZE];
	uint8_t receipt[RECEIPT_SIZE];
	receipt_write(&command, text);
	cr_assert_str_eq(text,
			 "01a1fd0e-983a-7000-a142-fa22b1dc6fd6.00112233445566778899aabbccddeeff");
	cr_assert_eq(receipt_read(text, found, receipt, NULL), 0);
	cr_assert_str_eq(found, id);
	cr_assert(receipt_is(&command, receipt));
	receipt[15] ^= 1;
	cr_assert_not(receipt_is(&command, receipt));
	receipt[15] ^= 1;
	command.status = STATUS_PENDING;
	cr_assert_not(receipt_is(&command, receipt));
}

Test(service_record, refuses_what_is_no_receipt)
{
	static const char *const wrong[] = {
	    "",
	    "x",
	    "01a1fd0e-983a-7000-a142-fa22b1dc6fd6",
	    "01a1fd0e-983a-7000-a142-fa22b1dc6fd6.",
	    "01a1fd0e-983a-7000-a142-fa22b1dc6fd6.00112233445566778899aabbccddeef",
	    "01a1fd0e-983a-7000-a142-fa22b1dc6fd6.00112233445566778899aabbccddeeff0",
	    "01a1fd0e-983a-7000-a142-fa22b1dc6fd6.00112233445566778899AABBCCDDEEFF",
	    "01a1fd0e-983a-7000-a142-fa22b1dc6fd6-00112233445566778899aabbccddeeff",
	};
	char found[UUID_TEXT_SIZE] = "kept";
	uint8_t receipt[RECEIPT_SIZE];
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		cr_assert_eq(receipt_read(wrong[i], found, receipt, NULL), ERR_INVALID, "%s",
			     wrong[i]);
	cr_assert_str_eq(found, "kept");
}

Test(service_record, writes_json_whatever_the_texts_hold)
{
	struct command command = some_command();
	struct command_texts texts = {.payload = {"[1, 2]", 6}, .response = {"\"}{\"", 4}};
	struct buf out = BUF_INIT(10000);
	command.response = RESPONSE_FILE;
	command.change_count = 1;
	command.changes[0] = (struct command_change){
	    .event = EVENT_DELIVERED, .status = STATUS_PROCESSING, .attempt = 3};
	record_write(&out, &command, &texts, "http://h");
	cr_assert_eq(json_check(out.data, out.size, NULL), 0, "%s", out.data);
	cr_assert(strstr(out.data, "\"requestBody\":{\"body\":[1, 2],"));
	cr_assert(strstr(out.data, "\"responseBody\":\"}{\",\"responseBodyUrl\":\"http://h/v1/"));
	buf_reset(&out);
	history_write(&out, &command);
	cr_assert_eq(json_check(out.data, out.size, NULL), 0, "%s", out.data);
	cr_assert(strstr(out.data, "PROCESSING: delivered, attempt 3"));
	buf_release(&out);
}

Test(service_record, sets_commas_where_they_belong)
{
	struct buf out = BUF_INIT(1000);
	out_open(&out, NULL, '{');
	out_text(&out, "a", "[");
	out_open(&out, "b", '[');
	out_number(&out, NULL, -1);
	out_open(&out, NULL, '{');
	out_close(&out, '}');
	out_bool(&out, NULL, true);
	out_null(&out, NULL);
	out_close(&out, ']');
	out_span(&out, "c", (struct span){NULL, 0});
	out_time(&out, "d", 0);
	out_close(&out, '}');
	cr_assert_str_eq(buf_str(&out), "{\"a\":\"[\",\"b\":[-1,{},true,null],\"c\":null,"
					"\"d\":\"1970-01-01T00:00:00.000Z\"}");
	buf_release(&out);
}
