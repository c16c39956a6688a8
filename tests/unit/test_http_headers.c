#include "agent/http_headers.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { MANY = 30 };

static void fill(struct http_headers *headers)
{
	char name[16];
	char value[16];
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "X-%d", i);
		snprintf(value, sizeof value, "value %d", i);
		http_headers_add(headers, name, value);
	}
}

Test(http_headers, are_found_whatever_the_case_of_their_letters_the_first_of_each_name)
{
	struct http_headers headers = {0};
	cr_assert_null(http_headers_get(&headers, "Accept"));
	http_headers_add(&headers, "Accept", "one");
	http_headers_add(&headers, "aCCEPT", "two");
	http_headers_add(&headers, "Empty", "");
	cr_assert_str_eq(http_headers_get(&headers, "accept"), "one");
	cr_assert_str_eq(http_headers_get(&headers, "empty"), "");
	http_headers_release(&headers);
	cr_assert_eq(headers.count, 0);
}

Test(http_headers, keep_their_order_and_go_by_name)
{
	struct http_headers headers = {0};
	fill(&headers);
	for (int i = 0; i < MANY; i += 3) {
		char name[16];
		snprintf(name, sizeof name, "x-%d", i);
		http_headers_remove(&headers, name);
	}
	fill(&headers);
	cr_assert_eq(headers.count, MANY * 2 / 3 + MANY);
	cr_assert_str_eq(headers.items[0].name, "X-1");
	cr_assert_str_eq(headers.items[0].value, "value 1");
	cr_assert_str_eq(headers.items[1].value, "value 2");
	cr_assert_str_eq(headers.items[2].value, "value 4");
	cr_assert_str_eq(http_headers_get(&headers, "X-3"), "value 3", "it was added again");
	http_headers_release(&headers);
}

Test(http_headers, a_copy_is_of_its_own)
{
	struct http_headers headers = {0};
	struct http_headers copy = {0};
	fill(&headers);
	http_headers_copy(&headers, &copy);
	http_headers_release(&headers);
	cr_assert_eq(copy.count, MANY);
	cr_assert_str_eq(copy.items[MANY - 1].name, "X-29");
	cr_assert_str_eq(copy.items[MANY - 1].value, "value 29");
	http_headers_release(&copy);
}
