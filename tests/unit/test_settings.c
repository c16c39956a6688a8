#include "agent/settings.h"
#include "base/log.h"
#include "base/mem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/test_settings.XXXXXX";
static struct settings settings;
static struct problems problems;

static void write_file(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");
	cr_assert_not_null(file);
	fputs(text, file);
	fclose(file);
}

/* Each test is a process of its own with a folder of its own to stand in; nothing of
 * the machine's environment and files is left to be read. */
static void begin(void)
{
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
	for (size_t i = 0; i < settings_count; i++) {
		char *file = mem_printf("%s_FILE", settings_table[i].env);
		unsetenv(settings_table[i].env);
		unsetenv(file);
		free(file);
	}
	write_file("empty.yaml", "");
	setenv("RELAY_CONFIG", "empty.yaml", 1); /* an agent may be installed here */
}

static void end(void)
{
	settings_release(&settings);
	problems_release(&problems);
	(void)unlink("empty.yaml");
	(void)unlink("relay.yaml");
	(void)unlink("cert.pem");
	cr_assert_eq(rmdir(folder), 0);
}

TestSuite(settings, .init = begin, .fini = end);

static int load_words(unsigned needs, char **argv)
{
	int argc = 0;
	while (argv[argc])
		argc++;
	settings_release(&settings);
	problems_release(&problems);
	settings_load(&settings, needs, &argc, argv, &problems);
	return argc;
}

static void load(unsigned needs)
{
	const char *words[] = {"relay-agent", NULL};
	cr_assert_eq(load_words(needs, (char **)words), 1);
}

static void set_service(void)
{
	setenv("COMMAND_SERVICE_URL", "https://api.example.com/base", 1);
	setenv("AGENT_ID", "agent-1", 1);
	setenv("ORG_SLUG", "my-org", 1);
	setenv("AUTH_TOKEN", "t0ken", 1);
}

static void expect_none(unsigned needs)
{
	load(needs);
	cr_assert_eq(problems.count, 0, "%s", problems.count ? problems.items[0] : "");
}

static bool has_problem(const char *part)
{
	for (size_t i = 0; i < problems.count; i++)
		if (strstr(problems.items[i], part))
			return true;
	return false;
}

/* Each of the values alone gives exactly one problem, which begins with the name. */
static void expect_refused(const char *name, const char *const *given)
{
	for (; *given; given++) {
		setenv(name, *given, 1);
		load(NEED_NOTHING);
		cr_assert_eq(problems.count, 1, "%s=%s: %zu", name, *given, problems.count);
		cr_assert_eq(strncmp(problems.items[0], name, strlen(name)), 0, "%s",
			     problems.items[0]);
	}
	unsetenv(name);
}

static void expect_taken(const char *name, const char *const *given)
{
	for (; *given; given++) {
		setenv(name, *given, 1);
		expect_none(NEED_NOTHING);
	}
	unsetenv(name);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

Test(settings, names_are_unique_and_every_setting_is_explained)
{
	for (size_t i = 0; i < settings_count; i++) {
		const struct setting *setting = &settings_table[i];
		size_t length = strlen(setting->help);
		char flag[SETTING_FLAG_MAX];
		schema_flag(setting, "", flag, sizeof flag);
		cr_assert_gt(length, 0, "%s", setting->env);
		cr_assert_neq(setting->help[length - 1], '.', "%s", setting->env);
		cr_assert_null(strchr(setting->help, '|'), "%s", setting->env);
		cr_assert_not_null(strchr(setting->yaml, '.'), "%s", setting->env);
		cr_assert_lt(strlen(flag), SETTING_FLAG_MAX - 1, "%s", setting->env);
		cr_assert(setting->type != SETTING_INT || setting->min < setting->max);
		cr_assert(setting->type != SETTING_CHOICE || setting->choices);
		cr_assert(!setting->required_for || setting->example, "%s", setting->env);
		for (size_t j = 0; j < i; j++) {
			cr_assert_str_neq(setting->env, settings_table[j].env);
			cr_assert_str_neq(setting->yaml, settings_table[j].yaml);
			cr_assert_neq(setting->offset, settings_table[j].offset);
		}
	}
}

Test(settings, the_defaults_are_those_of_the_specification)
{
	expect_none(NEED_NOTHING);
	cr_assert_eq(settings.poll_wait_seconds, 20);
	cr_assert_eq(settings.max_in_flight, 256);
	cr_assert_eq(settings.max_in_flight_per_host, 64);
	cr_assert_eq(settings.request_timeout_ms, 10000);
	cr_assert_eq(settings.max_timeout_ms, 600000);
	cr_assert_eq(settings.max_response_bytes, 104857600);
	cr_assert_eq(settings.max_redirects, 20);
	cr_assert_eq(settings.drain_seconds, 8);
	cr_assert_eq(settings.log_level, LOG_LEVEL_INFO);
	cr_assert_eq(settings.log_format, SETTINGS_LOG_AUTO);
	cr_assert_null(settings.service_url);
	cr_assert_null(settings.ca_file);
	cr_assert_null(settings.https_proxy);
	cr_assert_not(secret_is_set(&settings.token));
	cr_assert_not(secret_is_set(&settings.key));
}

Test(settings, the_service_is_asked_for_by_those_who_need_it)
{
	load(NEED_SERVICE);
	cr_assert_eq(problems.count, 4);
	cr_assert(has_problem("COMMAND_SERVICE_URL: missing: set it in the environment, as "
			      "service.url in the YAML file or with --command-service-url, for "
			      "example https://api.tetrascience.com"));
	cr_assert(has_problem("AGENT_ID: missing"));
	cr_assert(has_problem("ORG_SLUG: missing"));
	cr_assert(has_problem("AUTH_TOKEN: missing"));
	set_service();
	expect_none(NEED_SERVICE);
	cr_assert_str_eq(settings.service_url, "https://api.example.com/base");
	cr_assert_str_eq(settings.agent_id, "agent-1");
	cr_assert_str_eq(settings.org_slug, "my-org");
	cr_assert(secret_equal(&settings.token, "t0ken", 5));
}

Test(settings, the_key_is_asked_for_by_those_who_need_it)
{
	load(NEED_KEY);
	cr_assert_eq(problems.count, 1);
	cr_assert(has_problem("SECURE_COMMAND_KEY: missing"));
	setenv("SECURE_COMMAND_KEY", "0123456789abcdef0123456789abcdef", 1);
	expect_none(NEED_KEY);
	cr_assert(secret_equal(&settings.key, "0123456789abcdef0123456789abcdef", 32));
}

Test(settings, a_key_that_is_none_is_refused_and_not_shown)
{
	setenv("SECURE_COMMAND_KEY", "hunter2", 1);
	setenv("SECURE_COMMAND_KEY_PREVIOUS", "hunter2", 1);
	load(NEED_KEY);
	cr_assert_eq(problems.count, 2);
	cr_assert(has_problem("SECURE_COMMAND_KEY (environment): "));
	cr_assert(has_problem("SECURE_COMMAND_KEY_PREVIOUS (environment): "));
	cr_assert_not(has_problem("hunter2"));
	cr_assert_not(secret_is_set(&settings.key));
}

Test(settings, the_service_s_url_has_no_query_fragment_or_user)
{
	expect_refused("COMMAND_SERVICE_URL",
		       LIST("https://a.example?x=hunter2", "https://a.example/#x",
			    "https://me:hunter2@a.example", "https://me@a.example",
			    "ftp://a.example", "a.example", "https://", " https://a.example",
			    "https://a.example/ ", "https://a.example\n", "file:///etc/passwd",
			    "https://a.example:0"));
	expect_taken("COMMAND_SERVICE_URL",
		     LIST("http://127.0.0.1:8080", "https://[::1]:8443/v1/", "HTTPS://a.example"));
	setenv("COMMAND_SERVICE_URL", "https://me:hunter2@a.example", 1);
	load(NEED_NOTHING);
	cr_assert_not(has_problem("hunter2"));
	cr_assert(has_problem("AUTH_TOKEN"));
}

Test(settings, names_go_into_headers_and_urls)
{
	char longest[130];
	static const char *const names[] = {"AGENT_ID", "ORG_SLUG"};
	memset(longest, 'x', sizeof longest);
	longest[129] = '\0';
	for (size_t i = 0; i < 2; i++) {
		expect_refused(names[i], LIST("a b", "a/b", "a\tb", "a\nb", " a", "a ", "\xc3\xa4",
					      ".", "..", "a\x7f", longest));
		expect_taken(names[i], LIST("a", "...", "a:b_c-1.2@3", longest + 1));
	}
}

Test(settings, a_token_goes_into_a_header)
{
	char *longest = mem_calloc(16 * 1024 + 2, 1);
	memset(longest, 'x', 16 * 1024 + 1);
	expect_refused("AUTH_TOKEN", LIST("hunter2\n", "a\rb", " a", "a\t", longest));
	expect_taken("AUTH_TOKEN", LIST("a b", "eyJ.x-y_z==", longest + 1));
	setenv("AUTH_TOKEN", "hunter2\n", 1);
	load(NEED_NOTHING);
	cr_assert_not(has_problem("hunter2"));
	free(longest);
}

Test(settings, numbers_have_their_ranges)
{
	expect_refused("POLL_WAIT_SECONDS", LIST("0", "61", "-1", "20s"));
	expect_taken("POLL_WAIT_SECONDS", LIST("1", "60"));
	expect_refused("MAX_IN_FLIGHT", LIST("0", "10001", "12abc"));
	expect_taken("MAX_IN_FLIGHT", LIST("1", "10000"));
	expect_refused("MAX_IN_FLIGHT_PER_HOST", LIST("0", "10001"));
	expect_refused("MAX_RESPONSE_BYTES", LIST("0", "1073741825", "100MB"));
	expect_taken("MAX_RESPONSE_BYTES", LIST("1", "1073741824"));
	expect_refused("MAX_REDIRECTS", LIST("-1", "101"));
	expect_taken("MAX_REDIRECTS", LIST("0", "100"));
	expect_refused("DRAIN_SECONDS", LIST("-1", "3601"));
	expect_taken("DRAIN_SECONDS", LIST("0", "3600"));
	setenv("MAX_IN_FLIGHT", "12abc", 1);
	load(NEED_NOTHING);
	cr_assert_str_eq(problems.items[0], "MAX_IN_FLIGHT (environment): \"12abc\" is not right: "
					    "must be a whole number from 1 to 10000");
}

Test(settings, a_timeout_may_not_be_above_the_longest_one)
{
	setenv("REQUEST_TIMEOUT_MS", "2001", 1);
	setenv("MAX_TIMEOUT_MS", "2000", 1);
	load(NEED_NOTHING);
	cr_assert_eq(problems.count, 1);
	cr_assert(has_problem("REQUEST_TIMEOUT_MS"));
	cr_assert(has_problem("MAX_TIMEOUT_MS"));
	setenv("REQUEST_TIMEOUT_MS", "2000", 1);
	expect_none(NEED_NOTHING);
	expect_refused("MAX_TIMEOUT_MS", LIST("0", "86400001", "x"));
	setenv("MAX_TIMEOUT_MS", "86400000", 1);
	setenv("REQUEST_TIMEOUT_MS", "86400000", 1);
	expect_none(NEED_NOTHING);
}

Test(settings, lowering_the_longest_timeout_lowers_the_default_too)
{
	setenv("MAX_TIMEOUT_MS", "2000", 1);
	expect_none(NEED_NOTHING);
	load(NEED_NOTHING);
	cr_assert_eq(settings.request_timeout_ms, 2000);
}

Test(settings, a_client_certificate_needs_its_key_and_the_other_way_round)
{
	write_file("cert.pem", "x");
	setenv("CLIENT_CERT_FILE", "cert.pem", 1);
	load(NEED_NOTHING);
	cr_assert_eq(problems.count, 1);
	cr_assert(has_problem("CLIENT_CERT_FILE (tls.client_cert_file) needs CLIENT_KEY_FILE"));
	setenv("CLIENT_KEY_FILE", "cert.pem", 1);
	expect_none(NEED_NOTHING);
	unsetenv("CLIENT_CERT_FILE");
	load(NEED_NOTHING);
	cr_assert_eq(problems.count, 1);
	cr_assert(has_problem("CLIENT_KEY_FILE (tls.client_key_file) needs CLIENT_CERT_FILE"));
	setenv("CLIENT_CERT_FILE", "none.pem", 1);
	load(NEED_NOTHING);
	cr_assert_eq(problems.count, 1, "given, though it cannot be read");
	cr_assert(has_problem("CLIENT_CERT_FILE (environment): \"none.pem\""));
}

Test(settings, proxies_are_urls_or_a_host_and_port_and_are_never_shown)
{
	static const char *const names[] = {"HTTPS_PROXY", "HTTP_PROXY", "TARGET_PROXY"};
	for (size_t i = 0; i < 3; i++) {
		expect_taken(names[i],
			     LIST("http://proxy:3128", "https://proxy.lab",
				  "socks5://10.0.0.1:1080", "socks5h://proxy:1080/",
				  "HTTP://proxy:3128/", "proxy:3128", "http://me:p%40ss@proxy:3128",
				  "me:pw@proxy:3128", "[::1]:3128", "http://[fe80::1]"));
		expect_refused(names[i],
			       LIST("ftp://hunter2:1", "proxy", "http://", "http:///", ":3128",
				    "proxy:0", "proxy:65536", "proxy:x", "proxy:", "proxy:+1",
				    "http://proxy/path", "http://a b:1", "[]:1", "[::1:3128",
				    "http://proxy:1?x", "socks4://proxy:1080"));
		setenv(names[i], "ftp://me:hunter2@proxy", 1);
		load(NEED_NOTHING);
		cr_assert_not(has_problem("hunter2"));
		unsetenv(names[i]);
	}
	expect_taken("NO_PROXY", LIST("*", "localhost,.lab, 10.0.0.0/8"));
}

Test(settings, log_settings_are_words)
{
	setenv("LOG_LEVEL", "error", 1);
	setenv("LOG_FORMAT", "json", 1);
	expect_none(NEED_NOTHING);
	cr_assert_eq(settings.log_level, LOG_LEVEL_ERROR);
	cr_assert_eq(settings.log_format, SETTINGS_LOG_JSON);
	expect_refused("LOG_LEVEL", LIST("verbose", "3"));
	expect_refused("LOG_FORMAT", LIST("xml"));
}

/* ------------------------------------------------------------ where the file is */

static const char yaml[] = "service:\n"
			   "  url: https://api.example.com\n"
			   "  agent_id: from-file\n"
			   "  org: my-org\n"
			   "  token: t0ken\n"
			   "log: {level: debug}\n";

Test(settings, the_file_is_named_by_a_flag_that_is_taken_out)
{
	const char *words[] = {"relay-agent",  "run", "--config", "relay.yaml",
			       "--agent-id=x", "-v",  NULL};
	write_file("relay.yaml", yaml);
	cr_assert_eq(load_words(NEED_SERVICE, (char **)words), 3);
	cr_assert_eq(problems.count, 0);
	cr_assert_str_eq(words[1], "run");
	cr_assert_str_eq(words[2], "-v");
	cr_assert_str_eq(settings.agent_id, "x");
	cr_assert_eq(settings.log_level, LOG_LEVEL_DEBUG);
	cr_assert(secret_equal(&settings.token, "t0ken", 5));
}

Test(settings, the_file_is_named_by_the_environment_and_the_flag_wins)
{
	const char *words[] = {"relay-agent", "--config=none.yaml", NULL};
	write_file("relay.yaml", yaml);
	setenv("RELAY_CONFIG", "relay.yaml", 1);
	expect_none(NEED_SERVICE);
	cr_assert_str_eq(settings.agent_id, "from-file");
	load_words(NEED_SERVICE, (char **)words);
	cr_assert_eq(problems.count, 1);
	cr_assert(has_problem("none.yaml: No such file"));
}

Test(settings, a_flag_for_the_file_without_value_is_a_problem)
{
	const char *words[] = {"relay-agent", "--config", NULL};
	cr_assert_eq(load_words(NEED_NOTHING, (char **)words), 1);
	cr_assert_eq(problems.count, 1);
	cr_assert(has_problem("--config (command line): has no value"));
}

Test(settings, problems_of_the_file_name_its_line)
{
	const char *words[] = {"relay-agent", "--config", "relay.yaml", NULL};
	write_file("relay.yaml", "service:\n  agentid: a\nlog:\n  level: loud\npolicy: {}\n");
	load_words(NEED_NOTHING, (char **)words);
	cr_assert_eq(problems.count, 3);
	cr_assert(has_problem("relay.yaml:2: service.agentid is not known: did you mean "
			      "service.agent_id?"));
	cr_assert(has_problem("relay.yaml:5: policy is not known"));
	cr_assert(has_problem("log.level (relay.yaml:4): \"loud\" is not right: must be one of "
			      "debug, info, warn, error"));
}

Test(settings, a_token_on_the_command_line_is_refused_and_not_shown)
{
	const char *words[] = {"relay-agent", "run", "--auth-token", "hunter2", NULL};
	cr_assert_eq(load_words(NEED_NOTHING, (char **)words), 2);
	cr_assert_eq(problems.count, 1);
	cr_assert(has_problem("AUTH_TOKEN_FILE"));
	cr_assert_not(has_problem("hunter2"));
	cr_assert_not(secret_is_set(&settings.token));
}
