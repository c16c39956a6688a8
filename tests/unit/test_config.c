#include "base/mem.h"
#include "base/secret.h"
#include "config/config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A table with one setting of each type, as a program would have it. */
struct values {
	char *name;
	char *url;
	char *file;
	char *proxy;
	int64_t limit;
	bool is_on;
	int color;
	struct secret token;
};

static int check_name(const char *text, size_t size, struct error *err)
{
	if (strlen(text) == size && !strchr(text, '/'))
		return 0;
	return error_set(err, ERR_INVALID, "must not hold '/'");
}

static int check_token(const char *text, size_t size, struct error *err)
{
	if (!memchr(text, '\n', size))
		return 0;
	return error_set(err, ERR_INVALID, "must not hold a line break");
}

static const char *const colors[] = {"auto", "red", "blue", NULL};

static const struct setting table[] = {
    {.env = "T_NAME",
     .yaml = "main.name",
     .type = SETTING_TEXT,
     .offset = offsetof(struct values, name),
     .required_for = 1,
     .check = check_name,
     .help = "the name",
     .example = "my-name"},
    {.env = "T_URL",
     .yaml = "main.url",
     .type = SETTING_URL,
     .offset = offsetof(struct values, url),
     .help = "where",
     .example = "https://example.com"},
    {.env = "T_FILE",
     .yaml = "main.file",
     .type = SETTING_PATH,
     .offset = offsetof(struct values, file),
     .help = "which"},
    {.env = "T_PROXY",
     .yaml = "main.proxy",
     .type = SETTING_TEXT,
     .offset = offsetof(struct values, proxy),
     .is_private = true,
     .check = check_name,
     .help = "by what"},
    {.env = "T_LIMIT",
     .yaml = "deep.er.limit",
     .type = SETTING_INT,
     .offset = offsetof(struct values, limit),
     .fallback = "7",
     .min = -5,
     .max = 10000,
     .unit = "bytes",
     .help = "how many"},
    {.env = "T_ON",
     .yaml = "deep.on",
     .type = SETTING_BOOL,
     .offset = offsetof(struct values, is_on),
     .fallback = "yes",
     .help = "whether"},
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
     .check = check_token,
     .help = "the token",
     .example = "T_TOKEN_FILE=/run/secrets/token"},
};

enum { COUNT = sizeof table / sizeof *table };

static char folder[] = "/tmp/test_config.XXXXXX";
static struct values values;
static struct problems problems;
static struct config_source source = {.table = table, .count = COUNT, .flag_prefix = "T_"};

/* Each test is a process of its own with a folder of its own to stand in. */
static void begin(void)
{
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
	for (size_t i = 0; i < COUNT; i++)
		unsetenv(table[i].env);
	unsetenv("T_TOKEN_FILE");
}

static void end(void)
{
	config_release(table, COUNT, &values);
	problems_release(&problems);
	(void)unlink("relay.yaml");
	(void)unlink("secret");
	cr_assert_eq(rmdir(folder), 0);
}

TestSuite(config, .init = begin, .fini = end);

static void write_bytes(const char *name, const char *text, size_t size)
{
	FILE *file = fopen(name, "w");
	cr_assert_not_null(file);
	fwrite(text, 1, size, file);
	fclose(file);
}

static void write_yaml(const char *text)
{
	write_bytes("relay.yaml", text, strlen(text));
	source.file = "relay.yaml";
}

static void load(void)
{
	config_release(table, COUNT, &values);
	problems_release(&problems);
	config_load(&source, NULL, NULL, &values, &problems);
}

/* Exactly this one problem. */
static void expect_problem(const char *text)
{
	load();
	cr_assert_eq(problems.count, 1, "%zu: %s", problems.count,
		     problems.count ? problems.items[0] : "");
	cr_assert_str_eq(problems.items[0], text);
}

static void expect_none(void)
{
	load();
	cr_assert_eq(problems.count, 0, "%s", problems.count ? problems.items[0] : "");
}

static void expect_yaml_problem(const char *yaml, const char *text)
{
	write_yaml(yaml);
	expect_problem(text);
}

static bool has_problem(const char *part)
{
	for (size_t i = 0; i < problems.count; i++)
		if (strstr(problems.items[i], part))
			return true;
	return false;
}

Test(config, without_anything_given_the_defaults_apply)
{
	expect_none();
	cr_assert_null(values.name);
	cr_assert_eq(values.limit, 7);
	cr_assert(values.is_on);
	cr_assert_eq(values.color, 0);
	cr_assert_not(secret_is_set(&values.token));
}

Test(config, the_environment_gives_every_type)
{
	write_bytes("secret", "x", 1);
	setenv("T_NAME", "a b", 1);
	setenv("T_URL", "http://example.com/x", 1);
	setenv("T_FILE", "secret", 1);
	setenv("T_LIMIT", "-5", 1);
	setenv("T_ON", "Off", 1);
	setenv("T_COLOR", "BLUE", 1);
	setenv("T_TOKEN", " s3cret ", 1);
	expect_none();
	cr_assert_str_eq(values.name, "a b");
	cr_assert_str_eq(values.url, "http://example.com/x");
	cr_assert_str_eq(values.file, "secret");
	cr_assert_eq(values.limit, -5);
	cr_assert_not(values.is_on);
	cr_assert_eq(values.color, 2);
	cr_assert(secret_equal(&values.token, " s3cret ", 8));
}

Test(config, the_file_gives_every_type)
{
	write_bytes("secret", "x", 1);
	write_yaml("main: {name: n, url: 'https://example.com', file: secret, token: s}\n"
		   "deep:\n  er:\n    limit: 10000\n  on: no\n  color: red\n");
	expect_none();
	cr_assert_str_eq(values.name, "n");
	cr_assert_str_eq(values.url, "https://example.com");
	cr_assert_str_eq(values.file, "secret");
	cr_assert_eq(values.limit, 10000);
	cr_assert_not(values.is_on);
	cr_assert_eq(values.color, 1);
	cr_assert(secret_equal(&values.token, "s", 1));
}

Test(config, flags_win_over_the_environment_and_that_over_the_file)
{
	const char *flags[COUNT] = {[4] = "1"};
	write_yaml("deep: {er: {limit: 3}, color: red, on: false}\n");
	setenv("T_LIMIT", "2", 1);
	setenv("T_COLOR", "blue", 1);
	config_load(&source, flags, NULL, &values, &problems);
	cr_assert_eq(problems.count, 0);
	cr_assert_eq(values.limit, 1);
	cr_assert_eq(values.color, 2);
	cr_assert_not(values.is_on);
}

Test(config, a_lower_place_is_not_judged_where_a_higher_one_names_the_setting)
{
	write_yaml("main: {name: a/b, token: }\ndeep: {er: {limit: many}}\n");
	setenv("T_NAME", "n", 1);
	setenv("T_TOKEN", "t", 1);
	setenv("T_LIMIT", "2", 1);
	expect_none();
	cr_assert_str_eq(values.name, "n");
}

Test(config, an_empty_environment_value_counts_as_not_given)
{
	setenv("T_NAME", "", 1);
	setenv("T_LIMIT", "", 1);
	setenv("T_TOKEN", "", 1);
	setenv("T_TOKEN_FILE", "", 1);
	expect_none();
	cr_assert_null(values.name);
	cr_assert_eq(values.limit, 7);
}

Test(config, a_number_must_be_whole_and_in_range)
{
	static const char *const wrong[] = {"12abc",
					    "1e3",
					    "1.5",
					    "0x10",
					    " 1",
					    "1 ",
					    "10001",
					    "-6",
					    "+",
					    "1_000",
					    "99999999999999999999"};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		setenv("T_LIMIT", wrong[i], 1);
		char *text =
		    mem_printf("T_LIMIT (environment): \"%s\" is not right: must be a whole "
			       "number of bytes from -5 to 10000",
			       wrong[i]);
		expect_problem(text);
		cr_assert_eq(values.limit, 0);
		free(text);
	}
}

Test(config, a_choice_and_a_bool_must_be_one_of_their_words)
{
	setenv("T_COLOR", "green", 1);
	expect_problem("T_COLOR (environment): \"green\" is not right: must be one of auto, red, "
		       "blue");
	unsetenv("T_COLOR");
	setenv("T_ON", "2", 1);
	expect_problem("T_ON (environment): \"2\" is not right: must be true or false");
}

Test(config, a_text_is_one_line_of_utf8_without_white_space_around)
{
	setenv("T_NAME", "n ", 1);
	expect_problem("T_NAME (environment): \"n \" is not right: must not have white space "
		       "around it");
	setenv("T_NAME", "n\r", 1);
	expect_problem("T_NAME (environment): \"n\\r\" is not right: must not hold line breaks, "
		       "tabs or other control characters");
	setenv("T_NAME", "n\xff", 1);
	expect_problem("T_NAME (environment): \"n\\xFF\" is not right: must be UTF-8 text");
	setenv("T_NAME", "a/b", 1);
	expect_problem("T_NAME (environment): \"a/b\" is not right: must not hold '/'");
}

Test(config, a_url_must_be_absolute_http)
{
	static const char *const wrong[] = {"ftp://example.com", "example.com", "http://",
					    "http://a/b c", "http://a:99999"};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		setenv("T_URL", wrong[i], 1);
		load();
		cr_assert_eq(problems.count, 1, "%s", wrong[i]);
		cr_assert_eq(strncmp(problems.items[0], "T_URL (environment): \"", 22), 0);
		cr_assert(has_problem(wrong[i]));
		cr_assert_not(has_problem("URL: "));
	}
}

Test(config, a_url_that_may_hold_a_secret_is_not_shown)
{
	setenv("T_URL", "ftp://user:hunter2@example.com", 1);
	load();
	cr_assert_eq(problems.count, 1);
	cr_assert_not(has_problem("hunter2"));
	setenv("T_URL", "ftp://example.com?token=hunter2", 1);
	load();
	cr_assert_eq(problems.count, 1);
	cr_assert_not(has_problem("hunter2"));
}

Test(config, a_private_value_is_not_shown)
{
	setenv("T_PROXY", "http://user:hunter2@proxy", 1);
	expect_problem("T_PROXY (environment): must not hold '/'");
}

Test(config, a_path_must_be_a_file_that_can_be_read)
{
	setenv("T_FILE", "none", 1);
	expect_problem("T_FILE (environment): \"none\" is not right: the file cannot be read: No "
		       "such file or directory");
	setenv("T_FILE", folder, 1);
	load();
	cr_assert_eq(problems.count, 1);
	cr_assert(has_problem("must be the path of a file"));
	cr_assert_eq(mkfifo("secret", 0600), 0);
	setenv("T_FILE", "secret", 1);
	expect_problem("T_FILE (environment): \"secret\" is not right: must be the path of a file");
}

Test(config, problems_name_the_place_they_came_from)
{
	const char *flags[COUNT] = {[4] = "x"};
	write_yaml("main:\n  name: a/b\n");
	setenv("T_ON", "x", 1);
	config_load(&source, flags, NULL, &values, &problems);
	cr_assert_eq(problems.count, 3);
	cr_assert_eq(strncmp(problems.items[0], "main.name (relay.yaml:2): \"a/b\"", 31), 0);
	cr_assert_eq(strncmp(problems.items[1], "--limit (command line): \"x\"", 27), 0);
	cr_assert_eq(strncmp(problems.items[2], "T_ON (environment): \"x\"", 23), 0);
}

Test(config, a_missing_setting_is_one_problem_with_all_ways_to_give_it)
{
	source.needs = 1;
	write_yaml("");
	expect_problem(
	    "T_NAME: missing: set it in the environment, as main.name in the YAML file or "
	    "with --name, for example my-name");
	source.needs = 2;
	expect_problem(
	    "T_TOKEN: missing: set it in the environment, or T_TOKEN_FILE to the path of "
	    "a file that holds it, or as main.token or main.token_file in the YAML file, "
	    "for example T_TOKEN_FILE=/run/secrets/token");
	source.needs = 3;
	load();
	cr_assert_eq(problems.count, 2);
	setenv("T_NAME", "n", 1);
	setenv("T_TOKEN", "t", 1);
	expect_none();
}

Test(config, a_program_without_a_file_does_not_speak_of_one)
{
	source.needs = 3;
	load();
	cr_assert_eq(problems.count, 2);
	cr_assert_str_eq(problems.items[0], "T_NAME: missing: set it in the environment, or with "
					    "--name, for example my-name");
	cr_assert_not(has_problem("YAML"));
}

Test(config, a_file_that_cannot_be_read_is_the_only_problem)
{
	source.needs = 3;
	source.file = "none.yaml";
	expect_problem("reading none.yaml: No such file or directory");
	source.file_is_optional = true;
	load();
	cr_assert_eq(problems.count, 2);
	cr_assert(has_problem("T_NAME: missing"));
	write_yaml("main: [\n");
	load();
	cr_assert_eq(problems.count, 1);
	cr_assert(has_problem("relay.yaml:2: "));
}

Test(config, a_secret_is_never_shown)
{
	setenv("T_TOKEN", "hunter2\nx", 1);
	expect_problem("T_TOKEN (environment): must not hold a line break");
	cr_assert_not(secret_is_set(&values.token));
	unsetenv("T_TOKEN");
	write_bytes("secret", "hunter2\nx\n", 10);
	setenv("T_TOKEN_FILE", "secret", 1);
	expect_problem("T_TOKEN_FILE (environment): must not hold a line break");
	setenv("T_TOKEN_FILE", "hunter2", 1);
	expect_problem("T_TOKEN_FILE (environment): must be the path of a file: there is no such "
		       "file");
	unsetenv("T_TOKEN_FILE");
	write_yaml("main: {token: {hunter2: hunter2}}\n");
	load();
	cr_assert_eq(problems.count, 1);
	cr_assert_not(has_problem("hunter2"));
}

static void expect_token(const char *content, size_t size, const char *token)
{
	write_bytes("secret", content, size);
	expect_none();
	cr_assert(secret_equal(&values.token, token, strlen(token)), "%s", token);
}

Test(config, a_secret_s_file_loses_one_newline_at_its_end)
{
	setenv("T_TOKEN_FILE", "secret", 1);
	expect_token("abc", 3, "abc");
	expect_token("abc\n", 4, "abc");
	expect_token("abc\r\n", 5, "abc");
	expect_token("abc\r", 4, "abc\r");
	write_bytes("secret", "abc\n\n", 5);
	expect_problem("T_TOKEN_FILE (environment): must not hold a line break");
	unsetenv("T_TOKEN_FILE");
	write_yaml("main:\n  token_file: secret\n");
	expect_token("def\n", 4, "def");
}

Test(config, a_secret_s_file_that_holds_nothing_is_a_problem)
{
	static const char *const texts[] = {"", "\n", "\r\n"};
	setenv("T_TOKEN_FILE", "secret", 1);
	for (size_t i = 0; i < 3; i++) {
		write_bytes("secret", texts[i], strlen(texts[i]));
		expect_problem(
		    "T_TOKEN_FILE (environment): must be the path of a file: it is empty");
	}
	setenv("T_TOKEN_FILE", "-", 1);
	expect_problem("T_TOKEN_FILE (environment): must be the path of a file: it is not a file");
	setenv("T_TOKEN_FILE", folder, 1);
	expect_problem("T_TOKEN_FILE (environment): must be the path of a file: it is not a file");
	setenv("T_TOKEN_FILE", "secret", 1);
	write_bytes("secret", "", 0);
	cr_assert_eq(truncate("secret", 65537), 0);
	expect_problem(
	    "T_TOKEN_FILE (environment): must be the path of a file: it is far too large "
	    "for a secret");
}

Test(config, a_secret_and_its_file_in_one_place_are_a_problem)
{
	write_bytes("secret", "abc", 3);
	setenv("T_TOKEN", "x", 1);
	setenv("T_TOKEN_FILE", "secret", 1);
	expect_problem(
	    "T_TOKEN (environment): T_TOKEN_FILE is set as well: only one of them may be");
	cr_assert_not(secret_is_set(&values.token));
	unsetenv("T_TOKEN");
	unsetenv("T_TOKEN_FILE");
	expect_yaml_problem(
	    "main:\n  token: x\n  token_file: secret\n",
	    "main.token (relay.yaml:2): main.token_file is there as well, in line 3: "
	    "only one of them may be");
}

Test(config, a_secret_s_file_in_the_environment_wins_over_a_value_in_the_file)
{
	write_bytes("secret", "abc", 3);
	setenv("T_TOKEN_FILE", "secret", 1);
	write_yaml("main: {token: x}\n");
	expect_none();
	cr_assert(secret_equal(&values.token, "abc", 3));
}

Test(config, an_unknown_key_is_a_problem_that_suggests_the_nearest)
{
	expect_yaml_problem("main:\n  nmae: x\n",
			    "relay.yaml:2: main.nmae is not known: did you mean main.name?");
	expect_yaml_problem("mian:\n  name: x\n",
			    "relay.yaml:1: mian is not known: did you mean main?");
	expect_yaml_problem("limit: 1\n",
			    "relay.yaml:1: limit is not known: did you mean deep.er.limit?");
	expect_yaml_problem("main:\n  color: red\n",
			    "relay.yaml:2: main.color is not known: did you mean deep.color?");
	expect_yaml_problem("T_TOKEN: x\n",
			    "relay.yaml:1: T_TOKEN is not known: did you mean main.token?");
	expect_yaml_problem("main:\n  token_fil: x\n",
			    "relay.yaml:2: main.token_fil is not known: did you mean "
			    "main.token_file?");
	expect_yaml_problem("something_else: {a: 1, b: 2}\n",
			    "relay.yaml:1: something_else is not known");
	expect_yaml_problem("main.name: x\n",
			    "relay.yaml:1: main.name is not known when written with a dot: write "
			    "each part of the name in a line of its own, the second one indented");
	expect_yaml_problem("\"a\\nb\": x\n", "relay.yaml:1: a\\nb is not known");
}

Test(config, a_value_of_the_wrong_kind_is_a_problem)
{
	expect_yaml_problem("main:\n  name: [a]\n",
			    "relay.yaml:2: main.name must be a single value, not a list");
	expect_yaml_problem("main:\n  name: {a: b}\n",
			    "relay.yaml:2: main.name must be a single value, not a group of "
			    "settings");
	expect_yaml_problem("main: x\n",
			    "relay.yaml:1: main must be a group of settings, not a single value");
	expect_yaml_problem("deep:\n  er: [1]\n",
			    "relay.yaml:2: deep.er must be a group of settings, not a list");
}

Test(config, a_required_setting_of_the_wrong_kind_is_not_missing_as_well)
{
	source.needs = 1;
	expect_yaml_problem("main:\n  name: [a]\n",
			    "relay.yaml:2: main.name must be a single value, not a list");
}

Test(config, a_key_without_value_is_a_problem_and_an_empty_section_is_not)
{
	expect_yaml_problem("main:\n  name:\n", "main.name (relay.yaml:2): has no value");
	expect_yaml_problem("main:\n  name: ~\n", "main.name (relay.yaml:2): has no value");
	expect_yaml_problem("main:\n  name: \"\"\n", "main.name (relay.yaml:2): has no value");
	expect_yaml_problem("main:\n  token_file:\n",
			    "main.token_file (relay.yaml:2): has no value");
	write_yaml("main:\n  # name: x\ndeep:\n");
	expect_none();
	write_yaml("main:\n  name: 'null'\n");
	expect_none();
	cr_assert_str_eq(values.name, "null");
}

Test(config, sections_of_others_are_left_alone_at_the_top_level_only)
{
	static const char *const others[] = {"policy", NULL};
	write_yaml("policy:\n  - anything: [1]\n");
	config_load(&source, NULL, others, &values, &problems);
	cr_assert_eq(problems.count, 0);
	load();
	cr_assert_eq(problems.count, 1);
	cr_assert(has_problem("relay.yaml:1: policy is not known"));
	problems_release(&problems);
	write_yaml("main:\n  policy: x\n");
	config_load(&source, NULL, others, &values, &problems);
	cr_assert(has_problem("relay.yaml:2: main.policy is not known"));
}

Test(config, every_problem_is_reported_at_once)
{
	source.needs = 3;
	write_yaml("main:\n  nmae: x\n  url: nowhere\ndeep: {color: green, on: maybe}\n");
	setenv("T_LIMIT", "x", 1);
	load();
	cr_assert_eq(problems.count, 7);
	cr_assert(has_problem("main.nmae"));
	cr_assert(has_problem("T_NAME: missing"));
	cr_assert(has_problem("main.url (relay.yaml:3)"));
	cr_assert(has_problem("T_LIMIT (environment)"));
	cr_assert(has_problem("deep.on (relay.yaml:4)"));
	cr_assert(has_problem("deep.color (relay.yaml:4)"));
	cr_assert(has_problem("T_TOKEN: missing"));
}

Test(config, release_leaves_everything_as_if_never_given)
{
	setenv("T_NAME", "n", 1);
	setenv("T_TOKEN", "t", 1);
	expect_none();
	config_release(table, COUNT, &values);
	cr_assert_null(values.name);
	cr_assert_eq(values.limit, 0);
	cr_assert_not(secret_is_set(&values.token));
	config_release(table, COUNT, &values);
}
