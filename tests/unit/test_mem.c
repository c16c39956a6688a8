#include "base/mem.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

Test(mem, calloc_gives_zeroed_memory_even_for_no_bytes)
{
	unsigned char *bytes = mem_calloc(3, 4);
	void *none = mem_calloc(0, 4);

	for (int i = 0; i < 12; i++)
		cr_assert_eq(bytes[i], 0);
	cr_assert_not_null(none);
	free(bytes);
	free(none);
}

/* Small pieces are such as were freed lately. */
Test(mem, what_was_used_before_is_zeroed)
{
	for (size_t size = 1; size < 3000; size += 37) {
		unsigned char *bytes = mem_calloc(size, 1);
		memset(bytes, 0xA5, size);
		free(bytes);
		bytes = mem_calloc(1, size);
		for (size_t i = 0; i < size; i++)
			cr_assert_eq(bytes[i], 0, "byte %zu of %zu", i, size);
		free(bytes);
	}
}

Test(mem, a_new_struct_is_zero)
{
	struct pair {
		int a;
		char *b;
	};
	struct pair *pair = mem_new(struct pair);

	cr_assert_eq(pair->a, 0);
	cr_assert_null(pair->b);
	free(pair);
}

Test(mem, realloc_keeps_what_was_there)
{
	int *numbers = mem_realloc_array(NULL, 2, sizeof *numbers);

	numbers[1] = 5;
	numbers = mem_realloc_array(numbers, 1000, sizeof *numbers);
	cr_assert_eq(numbers[1], 5);
	numbers = mem_realloc_array(numbers, 0, sizeof *numbers);
	cr_assert_not_null(numbers);
	free(numbers);
}

Test(mem, a_copy_of_part_of_a_text_ends_in_a_nul)
{
	char *part = mem_strndup("abcdef", 3);
	char *whole = mem_strdup("abc");
	char *none = mem_strndup(NULL, 0);

	cr_assert_str_eq(part, "abc");
	cr_assert_str_eq(whole, "abc");
	cr_assert_str_eq(none, "");
	free(part);
	free(whole);
	free(none);
}

Test(mem, printf_makes_a_text_of_any_length)
{
	char *text = mem_printf("%0500d", 7);

	cr_assert_eq(strlen(text), 500);
	free(text);
}

Test(mem, a_product_that_overflows_ends_the_process, .signal = SIGABRT)
{
	volatile size_t count = SIZE_MAX / 2;

	free(mem_realloc_array(NULL, count, 4));
}
