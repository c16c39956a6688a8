/* The command line, and what help and reference page say: all from the table alone. */
#include "base/secret.h"
#include "config/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct values {
	char *name;
	char *url;
	int64_t limit;
	int color;
	struct secret token;
};

static const char *const colors[] = {"auto", "red", "blue", NULL};

static const struct setting table[] = {
    {.env = "T_NAME",
     .yaml = "main.name",
     .type = SETTING_TEXT,
     .offset = offsetof(struct values, name),
     .required_for = 1,
     .help = "the name"},
    {.env = "T_URL",
     .yaml = "main.url",
     .type = SETTING_URL,
     .offset = offsetof(struct values, url),
     .help = "where"},
    {.env = "T_LIMIT",
     .yaml = "deep.er.limit",
     .type = SETTING_INT,
     .offset = offsetof(struct values, limit),
     .fallback = "7",
     .min = -5,
     .max = 10000,
     .unit = "bytes",
     .help = "how many"},
    {.env = "T_COLOR",
     .yaml = "deep.color",
     .type = SETTING_CHOICE,
     .offset = offsetof(struct values, color),
     .fallback = "auto",
     .choices = colors,
     .help = "which color"},
    {.env = "T_TOKEN",
     .yaml = "main.token",
     .type = SETTING_SECRET,
     .offset = offsetof(struct values, token),
     .required_for = 2,
     .help = "the token"},
};

enum { COUNT = sizeof table / sizeof *table, NAME = 0, URL = 1, LIMIT = 2 };

static struct values values;
static struct problems problems;
static struct config_source source = {.table = table, .count = COUNT, .flag_prefix = "T_"};

static void begin(void)
{
	for (size_t i = 0; i < COUNT; i++)
		unsetenv(table[i].env);
}

static void end(void)
{
	config_release(table, COUNT, &values);
	problems_release(&problems);
}

TestSuite(schema, .init = begin, .fini = end);

static const char *flag_values[COUNT];

static int take(char **argv)
{
	int argc = 0;
	while (argv[argc])
		argc++;
	config_take_flags(&source, &argc, argv, flag_values, &problems);
	cr_assert_null(argv[argc]);
	return argc;
}

/* main's words are no constants, those here are never written to. */
#define ARGV(...) ((char **)(const char *[]){"program", __VA_ARGS__, NULL})

Test(schema, flags_are_taken_out_of_the_words_in_both_forms)
{
	char **argv = ARGV("run", "--name", "n", "-v", "--limit=-3", "file");
	cr_assert_eq(take(argv), 4);
	cr_assert_eq(problems.count, 0);
	cr_assert_str_eq(argv[0], "program");
	cr_assert_str_eq(argv[1], "run");
	cr_assert_str_eq(argv[2], "-v");
	cr_assert_str_eq(argv[3], "file");
	cr_assert_str_eq(flag_values[NAME], "n");
	cr_assert_str_eq(flag_values[LIMIT], "-3");
	cr_assert_null(flag_values[URL]);
}

Test(schema, flags_behind_two_dashes_and_unknown_ones_are_left)
{
	char **argv = ARGV("--names", "x", "--na", "--", "--name", "n");
	cr_assert_eq(take(argv), 7);
	cr_assert_eq(problems.count, 0);
	cr_assert_null(flag_values[NAME]);
	cr_assert_str_eq(argv[5], "--name");
}

Test(schema, a_flag_takes_the_next_word_even_with_one_dash)
{
	cr_assert_eq(take(ARGV("--limit", "-3")), 1);
	cr_assert_eq(problems.count, 0);
	cr_assert_str_eq(flag_values[LIMIT], "-3");
}

Test(schema, a_flag_without_value_is_one_problem)
{
	source.needs = 1;
	cr_assert_eq(take(ARGV("--name", "--limit", "3")), 1);
	cr_assert_eq(take(ARGV("--url=")), 1);
	cr_assert_eq(take(ARGV("--color")), 1);
	cr_assert_eq(problems.count, 3);
	cr_assert_str_eq(problems.items[0], "--name (command line): has no value");
	cr_assert_str_eq(problems.items[1], "--url (command line): has no value");
	cr_assert_str_eq(problems.items[2], "--color (command line): has no value");
	config_load(&source, flag_values, NULL, &values, &problems);
	cr_assert_eq(problems.count, 3, "not missing as well");
	cr_assert_eq(values.limit, 3);
}

Test(schema, a_flag_given_twice_is_a_problem)
{
	cr_assert_eq(take(ARGV("--name", "a", "--name=b")), 1);
	cr_assert_eq(problems.count, 1);
	cr_assert_str_eq(problems.items[0], "--name (command line): given more than once");
}

Test(schema, a_secret_on_the_command_line_is_refused_and_taken_out)
{
	char **argv = ARGV("--token", "hunter2", "--token=hunter2", "--token-file", "f", "x");
	cr_assert_eq(take(argv), 2);
	cr_assert_str_eq(argv[1], "x");
	cr_assert_eq(problems.count, 3);
	for (size_t i = 0; i < 3; i++) {
		cr_assert_null(strstr(problems.items[i], "hunter2"));
		cr_assert_not_null(strstr(problems.items[i], "not taken from the command line"));
		cr_assert_not_null(strstr(problems.items[i], "set T_TOKEN in the environment"));
		cr_assert_not_null(strstr(problems.items[i], "T_TOKEN_FILE"));
	}
}

Test(schema, no_words_at_all_are_fine)
{
	char *argv[] = {NULL};
	int argc = 0;
	config_take_flags(&source, &argc, argv, flag_values, &problems);
	cr_assert_eq(argc, 0);
	cr_assert_eq(problems.count, 0);
}

Test(schema, the_flag_of_a_setting_comes_from_its_environment_name)
{
	struct setting setting = {.env = "COMMAND_SERVICE_LISTEN_PORT", .type = SETTING_TEXT};
	char flag[SETTING_FLAG_MAX];
	schema_flag(&setting, "COMMAND_SERVICE_", flag, sizeof flag);
	cr_assert_str_eq(flag, "--listen-port");
	schema_flag(&setting, "", flag, sizeof flag);
	cr_assert_str_eq(flag, "--command-service-listen-port");
	schema_flag(&setting, "OTHER_", flag, 8);
	cr_assert_str_eq(flag, "--comma");
	setting.type = SETTING_SECRET;
	schema_flag(&setting, "", flag, sizeof flag);
	cr_assert_str_eq(flag, "");
}

Test(schema, the_markdown_table_has_a_row_for_each_setting)
{
	struct buf out = BUF_INIT(100000);
	schema_markdown(table, COUNT, "T_", &out);
	cr_assert_not_null(strstr(buf_str(&out), "| environment | YAML | flag | default | what |\n"
						 "|---|---|---|---|---|\n"
						 "| `T_NAME` | `main.name` | `--name` | required | "
						 "the name |\n"));
	cr_assert_not_null(strstr(buf_str(&out),
				  "| `T_LIMIT` | `deep.er.limit` | `--limit` | `7` | "
				  "how many; a whole number of bytes from -5 to 10000 "
				  "|\n"));
	cr_assert_not_null(strstr(buf_str(&out), "| `T_TOKEN`, `T_TOKEN_FILE` | `main.token`, "
						 "`main.token_file` | | none | the token |\n"));
	buf_release(&out);
}

Test(schema, the_markdown_table_has_no_yaml_column_where_no_setting_has_it)
{
	static const struct setting alone[] = {{.env = "X_LISTEN",
						.type = SETTING_TEXT,
						.fallback = "127.0.0.1:8080",
						.help = "where"}};
	struct buf out = BUF_INIT(100000);
	schema_markdown(alone, 1, "X_", &out);
	cr_assert_str_eq(buf_str(&out), "| environment | flag | default | what |\n"
					"|---|---|---|---|\n"
					"| `X_LISTEN` | `--listen` | `127.0.0.1:8080` | where |\n");
	buf_release(&out);
}

Test(schema, help_has_two_lines_for_each_setting)
{
	struct buf out = BUF_INIT(100000);
	schema_help(table, COUNT, "T_", &out);
	size_t lines = 0;
	for (size_t i = 0; i < out.size; i++)
		lines += out.data[i] == '\n';
	cr_assert_eq(lines, 2 * COUNT);
	cr_assert_not_null(
	    strstr(buf_str(&out), "  --name, T_NAME\n        the name (required)\n"));
	cr_assert_not_null(strstr(buf_str(&out), "  --color, T_COLOR\n        which color; one of "
						 "auto, red, blue (default auto)\n"));
	cr_assert_not_null(strstr(buf_str(&out), "  T_TOKEN, T_TOKEN_FILE\n        the token\n"));
	buf_release(&out);
}
