#include "base/buf.h"
#include "base/mem.h"
#include "config/yaml.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct yaml_node *parse(const char *text)
{
	struct yaml_node *root = NULL;
	struct error err = {0};
	int rc = yaml_tree_parse(text, strlen(text), "relay.yaml", &root, &err);
	cr_assert_eq(rc, 0, "%s", err.message);
	return root;
}

/* Fails with that code and message, and leaves root alone. */
static void refuse_bytes(const char *text, size_t size, int code, const char *message)
{
	struct yaml_node untouched;
	struct yaml_node *root = &untouched;
	struct error err = {0};
	int rc = yaml_tree_parse(text, size, "relay.yaml", &root, &err);
	cr_assert_eq(rc, code, "%d: %s", rc, err.message);
	cr_assert_eq(err.code, code);
	cr_assert_eq(root, &untouched);
	cr_assert_not_null(strstr(err.message, message), "%s", err.message);
}

static void refuse(const char *text, const char *message)
{
	refuse_bytes(text, strlen(text), ERR_SYNTAX, message);
}

Test(yaml, reads_mappings_sequences_and_scalars_with_their_lines)
{
	struct yaml_node *root = parse("# comment\n"
				       "service:\n"
				       "  url: https://example.com/a#b\n"
				       "  token:\n"
				       "    'quoted'\n"
				       "policy:\n"
				       "  allow:\n"
				       "    - host: \"*.lab\"\n"
				       "      ports: [443, 8443]\n");
	struct yaml_node *service = yaml_tree_get(root, "service");
	cr_assert_eq(root->kind, YAML_MAPPING);
	cr_assert_eq(root->child_count, 2);
	cr_assert_null(root->key);
	cr_assert_eq(service->line, 2);
	cr_assert_str_eq(service->key, "service");
	cr_assert_str_eq(yaml_tree_get(service, "url")->value, "https://example.com/a#b");
	cr_assert_not(yaml_tree_get(service, "url")->is_quoted);
	cr_assert_eq(yaml_tree_get(service, "token")->line, 4, "the line of the key");
	cr_assert(yaml_tree_get(service, "token")->is_quoted);
	struct yaml_node *allow = yaml_tree_get(yaml_tree_get(root, "policy"), "allow");
	cr_assert_eq(allow->kind, YAML_SEQUENCE);
	cr_assert_eq(allow->child_count, 1);
	struct yaml_node *ports = yaml_tree_get(allow->children[0], "ports");
	cr_assert_eq(ports->child_count, 2);
	cr_assert_str_eq(ports->children[1]->value, "8443");
	cr_assert_null(ports->children[1]->key);
	cr_assert_eq(ports->children[1]->line, 9);
	yaml_tree_free(root);
}

Test(yaml, get_finds_nothing_where_there_is_nothing)
{
	struct yaml_node *root = parse("a: 1\nb: [a]\n");
	cr_assert_null(yaml_tree_get(root, "c"));
	cr_assert_null(yaml_tree_get(yaml_tree_get(root, "a"), "a"));
	cr_assert_null(yaml_tree_get(yaml_tree_get(root, "b"), "a"));
	cr_assert_null(yaml_tree_get(NULL, "a"));
	yaml_tree_free(root);
	yaml_tree_free(NULL);
}

Test(yaml, an_empty_file_is_an_empty_mapping)
{
	static const char *const texts[] = {"",        "\n\n",       "# only a comment\n",
					    "---\n",   "---\n...\n", "\xef\xbb\xbf",
					    "--- ~\n", "{}",         "%YAML 1.1\n---\n"};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct yaml_node *root = parse(texts[i]);
		cr_assert_eq(root->kind, YAML_MAPPING);
		cr_assert_eq(root->child_count, 0);
		yaml_tree_free(root);
	}
}

Test(yaml, null_is_a_plain_scalar_that_says_nothing)
{
	struct yaml_node *root = parse("a:\nb: ~\nc: null\nd: \"\"\ne: 'null'\nf: 0\ng: []\n");
	for (size_t i = 0; i < root->child_count; i++)
		cr_assert_eq(yaml_tree_is_null(root->children[i]), i < 3, "%zu", i);
	yaml_tree_free(root);
}

Test(yaml, a_byte_order_mark_and_windows_line_ends_are_fine)
{
	struct yaml_node *root = parse("\xef\xbb\xbf"
				       "a:\r\n  b: c\r\nd: e\r\n");
	cr_assert_str_eq(yaml_tree_get(yaml_tree_get(root, "a"), "b")->value, "c");
	cr_assert_str_eq(yaml_tree_get(root, "d")->value, "e");
	cr_assert_eq(yaml_tree_get(root, "d")->line, 3);
	yaml_tree_free(root);
}

Test(yaml, the_top_level_must_be_a_mapping)
{
	refuse("- a\n- b\n", "relay.yaml:1: ");
	refuse("\n\njust text\n", "relay.yaml:3: ");
	refuse("\"\"\n", "relay.yaml:1: ");
}

Test(yaml, anchors_aliases_tags_and_merge_keys_are_refused_with_their_line)
{
	refuse("a: 1\nb: &x 2\n", "relay.yaml:2: anchors");
	refuse("a: &x [*x]\n", "relay.yaml:1: anchors");
	refuse("&x a: 1\n", "relay.yaml:1: anchors");
	refuse("a: 1\nb: *x\n", "relay.yaml:2: aliases");
	refuse("*x : 1\n", "relay.yaml:1: aliases");
	refuse("a:\n  - !!str 1\n", "relay.yaml:2: tags");
	refuse("a: !!python/object:os.system {}\n", "relay.yaml:1: tags");
	refuse("a: ! 1\n", "relay.yaml:1: tags");
	refuse("! a: 1\n", "relay.yaml:1: tags");
	refuse("a:\n  <<: {b: c}\n", "relay.yaml:2: merge keys");
}

Test(yaml, a_repeated_key_is_refused_with_both_lines)
{
	refuse("a: 1\nb: 2\na: 3\n", "relay.yaml:3: a is there already, in line 1");
	refuse("s: {a: 1, 'a': 2}\n", "relay.yaml:1: a is there already, in line 1");
	struct yaml_node *root = parse("a: {x: 1}\nb: {x: 1}\n");
	cr_assert_eq(root->child_count, 2);
	yaml_tree_free(root);
}

Test(yaml, a_key_must_be_text_that_is_not_empty)
{
	refuse("[a]: b\n", "relay.yaml:1: a key must be");
	refuse("{a: 1}: b\n", "relay.yaml:1: a key must be");
	refuse("? \n: b\n", "relay.yaml:1: an empty key");
	refuse("'': b\n", "relay.yaml:1: an empty key");
}

Test(yaml, a_second_document_is_refused)
{
	refuse("a: 1\n---\nb: 2\n", "relay.yaml:2: a second document");
	refuse("a: 1\n---\n", "relay.yaml:2: a second document");
	refuse("---\n---\n", "relay.yaml:2: a second document");
}

Test(yaml, syntax_errors_name_their_line)
{
	refuse("a: 1\nb: [1, 2\n", "relay.yaml:3: ");
	refuse("a: 1\n\tb: 2\n", "relay.yaml:2: ");
	refuse("a: \"open\n", "relay.yaml:2: ");
	refuse("a: b: c\n", "relay.yaml:1: ");
	refuse("a: 1\n  b: 2\n", "relay.yaml:2: ");
	refuse("%TAG ! x\n", "relay.yaml:2: ");
}

Test(yaml, what_is_not_utf8_text_is_refused_with_its_line)
{
	refuse_bytes("a: 1\nb: \0\n", 10, ERR_SYNTAX, "relay.yaml:2: not UTF-8 text");
	refuse("a: 1\nb: \xff\n", "relay.yaml:2: not UTF-8 text");
	refuse("a: \x1b[31m\n", "relay.yaml:1: not UTF-8 text");
	refuse("a: \xed\xa0\x80\n", "relay.yaml:1: not UTF-8 text");
	refuse("a: \"x\\0y\"\n", "relay.yaml:1: a NUL");
	refuse("\"x\\0y\": 1\n", "relay.yaml:1: a NUL");
	refuse_bytes("\xff\xfe"
		     "a\0:\0 \0b\0",
		     10, ERR_SYNTAX, "relay.yaml:1: not UTF-8 text");
	refuse_bytes("\x7f"
		     "ELF\x02\x01\x01\0\0\0",
		     10, ERR_SYNTAX, "relay.yaml:1: not UTF-8 text");
}

static char *repeated(const char *start, const char *text, size_t count, size_t *size)
{
	struct buf out = BUF_INIT(8 * 1024 * 1024);
	buf_append_str(&out, start);
	for (size_t i = 0; i < count; i++)
		buf_append_str(&out, text);
	cr_assert_eq(out.failed, 0);
	return buf_detach(&out, size);
}

static void refuse_repeated(const char *start, const char *text, size_t count, int code,
			    const char *message)
{
	size_t size;
	char *all = repeated(start, text, count, &size);
	refuse_bytes(all, size, code, message);
	free(all);
}

Test(yaml, depth_is_bounded_at_sixteen_levels)
{
	struct yaml_node *root = parse("a: [[[[[[[[[[[[[[1]]]]]]]]]]]]]]\n");
	yaml_tree_free(root);
	refuse_bytes("a: [[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]\n", 35, ERR_LIMIT,
		     "relay.yaml:1: nested more than 16 levels");
}

Test(yaml, a_hundred_thousand_brackets_are_refused_and_not_followed)
{
	refuse_repeated("a: ", "[", 100000, ERR_LIMIT, "relay.yaml:1: nested");
	refuse_repeated("a: ", "{a: ", 100000, ERR_LIMIT, "relay.yaml:1: nested");
	refuse_repeated("a:\n  ", "- ", 100000, ERR_LIMIT, "relay.yaml:2: nested");
	refuse_repeated("a:\n  ", "? ", 100000, ERR_SYNTAX, "relay.yaml:2: ");
	refuse_repeated("a: ", "]", 100000, ERR_SYNTAX, "relay.yaml:1: ");
}

Test(yaml, the_number_of_values_is_bounded)
{
	refuse_repeated("a: [", "1,", 9999, ERR_LIMIT, "more than 10000 values");
	size_t size;
	char *text = repeated("a:\n", "- 1\n", 9998, &size);
	struct yaml_node *root = parse(text);
	cr_assert_eq(yaml_tree_get(root, "a")->child_count, 9998);
	yaml_tree_free(root);
	free(text);
}

Test(yaml, the_size_is_bounded_at_one_mebibyte)
{
	refuse_repeated("", "# comment\n", 104858, ERR_LIMIT, "larger than 1048576 bytes");
	size_t size;
	char *text = repeated("a: ", "x", 1048573, &size);
	struct yaml_node *root = parse(text);
	cr_assert_eq(strlen(yaml_tree_get(root, "a")->value), 1048573);
	yaml_tree_free(root);
	free(text);
}

Test(yaml, a_long_repeated_key_is_shown_in_part_only)
{
	size_t size;
	char *key = repeated("", "k", 1000, &size);
	char *text = mem_printf("%s: 1\n%s: 2\n", key, key);
	refuse_bytes(text, strlen(text), ERR_SYNTAX, "k… is there already, in line 1");
	free(text);
	free(key);
}

Test(yaml, load_reads_a_file_and_names_it_in_errors_as_it_was_given)
{
	char folder[] = "/tmp/test_yaml.XXXXXX";
	struct yaml_node *root = NULL;
	struct error err = {0};
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
	FILE *file = fopen("relay.yaml", "w");
	fputs("a: 1\nb: [\n", file);
	fclose(file);
	cr_assert_eq(yaml_tree_load("relay.yaml", &root, &err), ERR_SYNTAX);
	cr_assert_eq(strncmp(err.message, "relay.yaml:3: ", 14), 0, "%s", err.message);
	cr_assert_null(root);
	file = fopen("relay.yaml", "w");
	fputs("a: 1\n", file);
	fclose(file);
	cr_assert_eq(yaml_tree_load("relay.yaml", &root, &err), 0);
	cr_assert_str_eq(yaml_tree_get(root, "a")->value, "1");
	yaml_tree_free(root);
	root = NULL;
	cr_assert_eq(yaml_tree_load("none.yaml", &root, &err), ERR_NOT_FOUND);
	cr_assert_not_null(strstr(err.message, "none.yaml"));
	cr_assert_eq(yaml_tree_load(folder, &root, &err), ERR_SYSTEM);
	cr_assert_null(root);
	unlink("relay.yaml");
	rmdir(folder);
}
