#include "agent/limits.h"
#include "agent/payload.h"
#include "base/json.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct payload_limits LIMITS = {
    .default_timeout_ms = 10000,
    .max_timeout_ms = 600000,
    .default_redirects = 20,
    .is_timeout_honoured = true,
};

static int parse(const char *text, struct payload *payload, struct problems *problems)
{
	struct json_object *json;
	struct error err;
	cr_assert_eq(json_parse(text, strlen(text), &json, &err), 0, "%s", err.message);
	*problems = PROBLEMS_INIT;
	int rc = payload_parse(json, &LIMITS, payload, problems);
	json_object_put(json);
	return rc;
}

/* Parses what must be right. */
static struct payload parsed(const char *text)
{
	struct payload payload;
	struct problems problems;
	cr_assert_eq(parse(text, &payload, &problems), 0, "%s",
		     problems.count > 0 ? problems.items[0] : "");
	return payload;
}

/* Parses what must be wrong: exactly these problems, and nothing left behind. */
static void assert_problems(const char *text, const char *expected)
{
	struct payload payload;
	struct problems problems;
	struct buf list = BUF_INIT(100000);
	cr_assert_neq(parse(text, &payload, &problems), 0);
	problems_join(&problems, "|", &list);
	cr_assert_str_eq(buf_str(&list), expected);
	cr_assert_null(payload.method);
	cr_assert_null(payload.url.text);
	cr_assert_eq(payload.headers.count, 0);
	buf_release(&list);
	problems_release(&problems);
}

#define GET_ "{\"method\":\"GET\",\"url\":\"http://h/\""

Test(payload, a_method_in_any_letter_case_is_upper_case_afterwards)
{
	struct payload payload = parsed("{\"method\":\"pAtCh\",\"url\":\"http://h/\"}");
	cr_assert_str_eq(payload.method, "PATCH");
	payload_release(&payload);
}

Test(payload, limits_apply_where_nothing_is_said)
{
	struct payload payload = parsed(GET_ "}");
	cr_assert_eq(payload.timeout_ms, 10000);
	cr_assert_eq(payload.max_redirects, 20);
	cr_assert_eq(payload.body_kind, HTTP_BODY_NONE);
	cr_assert_not(payload.ignore_tls_certificate);
	payload_release(&payload);
}

Test(payload, a_timeout_of_zero_is_the_maximum_and_a_larger_one_is_cut_to_it)
{
	struct payload payload = parsed(GET_ ",\"timeout\":0}");
	cr_assert_eq(payload.timeout_ms, 600000);
	payload_release(&payload);
	payload = parsed(GET_ ",\"timeout\":1e300}");
	cr_assert_eq(payload.timeout_ms, 600000);
	payload_release(&payload);
	payload = parsed(GET_ ",\"timeout\":0.25}");
	cr_assert_eq(payload.timeout_ms, 1);
	payload_release(&payload);
}

Test(payload, every_problem_is_named_with_its_path)
{
	assert_problems(
	    "{\"method\":\"GETT\",\"headers\":[{\"a\":1},5,{\"b "
	    "c\":1},{\"d\":\"x\\r\\ny\"},{\"e\":[1,null]}],"
	    "\"timeout\":\"5\",\"max_redirects\":-1,\"ignore_tls_certificate\":1,\"body\":{"
	    "\"mode\":\"x\"}}",
	    "method: \"GETT\" is not one of GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
	    "|url: missing"
	    "|headers[1]: must be an object, not number"
	    "|headers[2]: \"b c\" is not a header name"
	    "|headers[3]: d: the value holds CR, LF or NUL"
	    "|headers[4]: e[1]: must be a string, number or boolean, not null"
	    "|timeout: must be a number, not string"
	    "|max_redirects: must not be negative"
	    "|ignore_tls_certificate: must be true or false, not number"
	    "|body.mode: \"x\" is not one of raw, formdata, urlencoded");
}

Test(payload, what_is_no_object_is_no_payload)
{
	assert_problems("null", "the payload must be an object, not null");
	assert_problems("[]", "the payload must be an object, not array");
}

Test(payload, framing_headers_are_dropped_and_the_rest_keeps_its_order)
{
	struct payload payload =
	    parsed(GET_ ",\"headers\":{\"B\":\"1\",\"content-length\":\"9\",\"A\":[\"x\",2,true],"
			"\"Transfer-Encoding\":\"chunked\",\"Connection\":\"close\",\"EXPECT\":"
			"\"100-continue\"}}");
	cr_assert_eq(payload.headers.count, 4);
	cr_assert_str_eq(payload.headers.items[0].name, "B");
	cr_assert_str_eq(payload.headers.items[1].value, "x");
	cr_assert_str_eq(payload.headers.items[2].value, "2");
	cr_assert_str_eq(payload.headers.items[3].value, "true");
	payload_release(&payload);
}

Test(payload, more_headers_than_the_limit_are_refused)
{
	struct buf text = BUF_INIT(1 << 20);
	buf_append_str(&text, GET_ ",\"headers\":{\"A\":[");
	for (int i = 0; i <= LIMIT_HEADERS; i++)
		buf_append_str(&text, i == 0 ? "1" : ",1");
	buf_append_str(&text, "]}}");
	assert_problems(buf_str(&text), "headers: A[256]: more than 256 headers");
	buf_release(&text);
}

static void assert_raw(const char *raw, const char *bytes, const char *content_type)
{
	struct buf text = BUF_INIT(1 << 20);
	size_t size;
	buf_printf(&text, GET_ ",\"body\":{\"mode\":\"raw\",\"raw\":%s}}", raw);
	struct payload payload = parsed(buf_str(&text));
	cr_assert_eq(payload.body_kind, HTTP_BODY_BYTES);
	cr_assert_str_eq(payload_body(&payload, &size), bytes);
	cr_assert_eq(size, strlen(bytes));
	cr_assert_str_eq(http_headers_get(&payload.headers, "content-type"), content_type);
	payload_release(&payload);
	buf_release(&text);
}

Test(payload, a_raw_body_is_its_bytes_and_gets_a_content_type)
{
	assert_raw("\"{\\\"a\\\": 1 }\"", "{\"a\": 1 }", "application/json");
	assert_raw("\"hello\"", "hello", "text/plain; charset=utf-8");
	assert_raw("\"\"", "", "text/plain; charset=utf-8");
	assert_raw("{\"b\":1.50,\"a\":\"\xC3\xA4/\"}", "{\"b\":1.50,\"a\":\"\xC3\xA4/\"}",
		   "application/json");
	assert_raw("[1, 2]", "[1,2]", "application/json");
}

Test(payload, a_raw_body_keeps_the_requestors_content_type)
{
	struct payload payload = parsed(GET_ ",\"headers\":{\"content-TYPE\":\"text/"
					     "csv\"},\"body\":{\"mode\":\"raw\",\"raw\":\"{}\"}}");
	cr_assert_eq(payload.headers.count, 1);
	cr_assert_str_eq(http_headers_get(&payload.headers, "Content-Type"), "text/csv");
	payload_release(&payload);
}

Test(payload, urlencoded_follows_the_whatwg_rules)
{
	size_t size;
	struct payload payload = parsed(
	    GET_
	    ",\"body\":{\"mode\":\"urlencoded\",\"urlencoded\":["
	    "{\"key\":\"a b\",\"value\":\"*-._~'()!\"},{\"key\":\"\xC3\xA4\",\"value\":\"\"},"
	    "{\"key\":\"off\",\"value\":\"1\",\"disabled\":true},"
	    "{\"key\":\"n\",\"value\":{\"x\":[1]}},{\"key\":\"z\",\"value\":\"a\\u0000b&=+%\"}]}}");
	cr_assert_str_eq(payload_body(&payload, &size),
			 "a+b=*-._%7E%27%28%29%21&%C3%A4=&n=%7B%22x%22%3A%5B1%5D%7D&"
			 "z=a%00b%26%3D%2B%25");
	cr_assert_str_eq(http_headers_get(&payload.headers, "Content-Type"),
			 "application/x-www-form-urlencoded");
	payload_release(&payload);
}

Test(payload, formdata_has_fields_and_files)
{
	struct payload payload = parsed(
	    GET_
	    ",\"headers\":{\"Content-Type\":\"multipart/"
	    "form-data\"},\"body\":{\"mode\":\"formdata\","
	    "\"formdata\":[{\"key\":\"k\",\"value\":true},{\"key\":\"f\",\"value\":\"AAEC/w==\","
	    "\"encoding\":\"base64\",\"filename\":\"a \\\"b\\\".bin\",\"contentType\":\"x/y\"}]}}");
	cr_assert_null(http_headers_get(&payload.headers, "Content-Type"), "the boundary is ours");
	cr_assert_eq(payload.part_count, 2);
	cr_assert_str_eq(payload.parts[0].value, "true");
	cr_assert_eq(payload.parts[1].size, 4);
	cr_assert_arr_eq(payload.parts[1].value, "\x00\x01\x02\xff", 4);
	cr_assert_str_eq(payload.parts[1].filename, "a \"b\".bin");
	cr_assert_str_eq(payload.parts[1].content_type, "x/y");
	payload_release(&payload);
}

Test(payload, what_would_break_out_of_a_parts_header_is_refused)
{
	assert_problems(GET_
			",\"body\":{\"mode\":\"formdata\",\"formdata\":["
			"{\"key\":\"a\\nb\",\"value\":\"\"},{\"key\":\"c\",\"value\":\"\","
			"\"filename\":\"x\\ry\"},"
			"{\"key\":\"d\",\"value\":\"?\",\"encoding\":\"base64\"},{\"value\":1},"
			"{\"key\":\"e\",\"value\":\"\",\"encoding\":\"hex\"},3]}}",
			"body.formdata[0].key: holds CR, LF or NUL"
			"|body.formdata[1].filename: holds CR, LF or NUL"
			"|body.formdata[2].value: not base64 at character 1"
			"|body.formdata[3].key: missing"
			"|body.formdata[4].encoding: must be \"base64\""
			"|body.formdata[5]: must be an object, not number");
}

Test(payload, a_body_without_its_source_field_is_refused)
{
	assert_problems(GET_ ",\"body\":{\"mode\":\"raw\"}}", "body.raw: missing");
	assert_problems(GET_ ",\"body\":{\"mode\":\"urlencoded\"}}", "body.urlencoded: missing");
	assert_problems(GET_ ",\"body\":{\"mode\":\"formdata\",\"formdata\":{}}}",
			"body.formdata: must be an array");
	assert_problems(GET_ ",\"body\":{}}", "body.mode: missing");
	assert_problems(GET_ ",\"body\":\"x\"}", "body: must be an object or null, not string");
}

static size_t memory_of(const char *before, size_t letters, const char *after)
{
	struct buf text = BUF_INIT(letters + 1000);
	buf_append_str(&text, before);
	for (size_t i = 0; i < letters; i++)
		buf_append_char(&text, 'x');
	buf_append_str(&text, after);
	struct payload payload = parsed(buf_str(&text));
	size_t bytes = payload_memory_size(&payload);
	payload_release(&payload);
	buf_release(&text);
	return bytes;
}

Test(payload, its_memory_is_that_of_its_url_headers_and_parts)
{
	const size_t letters = 50000;
	cr_assert_lt(memory_of(GET_, 0, "}"), 4000);
	cr_assert_gt(memory_of("{\"method\":\"GET\",\"url\":\"http://h/", letters, "\"}"), letters);
	cr_assert_gt(memory_of(GET_ ",\"headers\":{\"a\":\"", letters, "\"}}"), letters);
	cr_assert_gt(memory_of(GET_ ",\"body\":{\"mode\":\"formdata\",\"formdata\":[{\"key\":\"k\","
				    "\"value\":\"",
			       letters, "\"}]}}"),
		     letters);
}
