#include "base/url.h"
#include "base/url_plain.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* url.h: the end of text is the path, then "?" and the query. url_build builds on that. */
static void assert_ends_with_its_path(const struct url *url)
{
	size_t query = url->query ? strlen(url->query) + 1 : 0;
	size_t end = strlen(url->path) + query;

	cr_assert_lt(end, strlen(url->text), "%s", url->text);
	const char *path = url->text + strlen(url->text) - end;
	cr_assert_eq(strncmp(path, url->path, strlen(url->path)), 0, "%s", url->text);
	if (query > 0) {
		cr_assert_eq(path[strlen(url->path)], '?', "%s", url->text);
		cr_assert_str_eq(path + strlen(url->path) + 1, url->query);
	}
}

static struct url parsed(const char *text)
{
	struct url url = {0};
	struct error err = {0};

	cr_assert_eq(url_parse(text, &url, &err), 0, "%s: %s", text, err.message);
	assert_ends_with_its_path(&url);
	return url;
}

static void assert_text(const char *text, const char *expected)
{
	struct url url = parsed(text);

	cr_assert_str_eq(url.text, expected, "%s: %s", text, url.text);
	url_release(&url);
}

static void assert_refused(const char *text, const char *reason)
{
	struct url url = {.port = 7};
	struct error err = {0};

	cr_assert_eq(url_parse(text, &url, &err), ERR_INVALID, "%s", text);
	cr_assert_not_null(strstr(err.message, reason), "%s: %s", text, err.message);
	cr_assert_null(url.text);
	cr_assert_eq(url.port, 7);
}

Test(url, all_parts_are_taken_apart)
{
	struct url url = parsed("HTTPS://User:p%40w@EXAMPLE.com:8443/a/b?x=1&y=2#fragment");

	cr_assert_str_eq(url.text, "https://example.com:8443/a/b?x=1&y=2");
	cr_assert_str_eq(url.scheme, "https");
	cr_assert_str_eq(url.host, "example.com");
	cr_assert_eq(url.port, 8443);
	cr_assert_str_eq(url.path, "/a/b");
	cr_assert_str_eq(url.query, "x=1&y=2");
	cr_assert_str_eq(url.user, "User");
	cr_assert_str_eq(url.password, "p@w");
	url_release(&url);
	cr_assert_null(url.text);
	url_release(&url);
}

Test(url, parts_that_are_not_there_are_null_or_the_default)
{
	struct url url = parsed("http://example.com");

	cr_assert_str_eq(url.text, "http://example.com/");
	cr_assert_eq(url.port, 80);
	cr_assert_str_eq(url.path, "/");
	cr_assert_null(url.query);
	cr_assert_null(url.user);
	cr_assert_null(url.password);
	url_release(&url);
	url = parsed("https://user@h/?");
	cr_assert_eq(url.port, 443);
	cr_assert_str_eq(url.user, "user");
	cr_assert_null(url.password);
	cr_assert_null(url.query);
	url_release(&url);
}

Test(url, a_copy_outlives_what_it_was_made_from)
{
	struct url url = parsed("https://user@h/a?b"), copy;

	url_copy(&url, &copy);
	url_release(&url);
	cr_assert_str_eq(copy.text, "https://h/a?b");
	cr_assert_str_eq(copy.scheme, "https");
	cr_assert_str_eq(copy.host, "h");
	cr_assert_eq(copy.port, 443);
	cr_assert_str_eq(copy.path, "/a");
	cr_assert_str_eq(copy.query, "b");
	cr_assert_str_eq(copy.user, "user");
	cr_assert_null(copy.password);
	url_release(&copy);
}

Test(url, default_ports_are_left_out_and_others_kept)
{
	assert_text("https://h:443/", "https://h/");
	assert_text("http://h:80/", "http://h/");
	assert_text("https://h:80/", "https://h:80/");
	assert_text("http://h:65535/", "http://h:65535/");
	assert_text("http://h:/", "http://h/");
}

Test(url, characters_that_may_not_stand_there_are_encoded)
{
	assert_text("http://h/a b/ä?q=ü x+y&z", "http://h/a%20b/%C3%A4?q=%C3%BC%20x+y&z");
	assert_text("http://h/\xff?\xff", "http://h/%FF?%FF");
	assert_text("http://h/<\"{|}\\^`>", "http://h/%3C%22%7B%7C%7D%5C%5E%60%3E");
	assert_text("http://h/a%20b%2Fc?%41%zz%", "http://h/a%20b%2Fc?%41%zz%");
}

Test(url, steps_in_the_path_are_taken_however_they_are_written)
{
	assert_text("http://h/a/./b/../c", "http://h/a/c");
	assert_text("http://h/a/%2e%2E/%61", "http://h/a");
	assert_text("http://h/../../a", "http://h/a");
	assert_text("http://h?x=/../%2e%2e", "http://h/?x=/../%2e%2e");
	assert_text("http://h/%%2e%zz/a%", "http://h/%25.%25zz/a%25");
	assert_text("http://h/%252e%252e/a", "http://h/%252e%252e/a");
}

Test(url, hosts_in_other_notations_are_the_host_they_mean)
{
	assert_text("http://0x7f.1/", "http://127.0.0.1/");
	assert_text("http://2130706433/", "http://127.0.0.1/");
	assert_text("http://0x7f%2e1/", "http://127.0.0.1/");
	assert_text("http://%30x7f.1./", "http://127.0.0.1/");
	assert_text("http://0177.0.0.01./", "http://127.0.0.1/");
	assert_text("http://127.0.0.1./", "http://127.0.0.1/");
	assert_text("http://１２７。０.０.１/", "http://127.0.0.1/");
	assert_text("http://exa%6Dple.com./x", "http://example.com/x");
	assert_text("http://bücher.example/", "http://xn--bcher-kva.example/");
	assert_text("http://B%C3%BCcher.example:8080/", "http://xn--bcher-kva.example:8080/");
	assert_text("http://[::1]:8080/x", "http://[::1]:8080/x");
	assert_text("http://u:p@bücher.example./x?y", "http://xn--bcher-kva.example/x?y");
}

Test(url, other_schemes_are_refused_by_name)
{
	assert_refused("ftp://h/", "is ftp");
	assert_refused("file:///etc/passwd", "is file");
	assert_refused("javascript://h/", "is javascript");
	assert_refused("httpx://h/", "is httpx");
}

Test(url, what_is_not_absolute_is_refused)
{
	static const char *const texts[] = {
	    "",   "/x",         "x",    "example.com/x", "localhost:80/x", "//h/x",
	    "?x", "mailto:x@y", "http", "://h/",         " http://h/"};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		assert_refused(texts[i], "not absolute");
	assert_refused("http:", "//");
	assert_refused("http:/h/", "//");
	assert_refused("https:h", "//");
}

Test(url, a_url_without_a_host_is_refused)
{
	assert_refused("http://", "no host");
	assert_refused("http:///x", "no host");
	assert_refused("http://?x", "no host");
	assert_refused("http://#x", "no host");
	assert_refused("http://:80/", "no host");
	assert_refused("http://user@/", "no host");
	assert_refused("http://./", "hostname");
	assert_refused("http://h../", "hostname");
}

Test(url, ports_outside_1_to_65535_are_refused)
{
	assert_refused("http://h:0/", "port");
	assert_refused("http://h:65536/", "port");
	assert_refused("http://h:4294967376/", "port");
	assert_refused("http://h:-1/", "port");
	assert_refused("http://h:80a/", "port");
}

Test(url, control_characters_are_refused_everywhere)
{
	assert_refused("http://h/\n", "control");
	assert_refused("http://h\r\n/", "control");
	assert_refused("http://h/?\x7f", "control");
	assert_refused("http://h%0d%0a/", "");
	assert_refused("http://us%0aer@h/", "");
}

Test(url, hosts_that_readers_understand_differently_are_refused)
{
	assert_refused("http://good\\@evil/", "backslash");
	assert_refused("http://a@b@c/", "");
	assert_refused("http://a b/", "");
	assert_refused("http://a%2fb/", "");
	assert_refused("http://\xff/", "");
	assert_refused("http://a%7f/", "hostname");
	assert_refused("http://a%01/", "hostname");
	assert_refused("http://a%2541/", "hostname");
	assert_refused("http://a%25/", "hostname");
	assert_refused("http://a+b/", "hostname");
	assert_refused("http://[::1/", "");
	assert_refused("http://[1:2]/", "");
	assert_refused("http://[fe80::1%25eth0]/", "zone");
}

Test(url, a_message_repeats_no_secret)
{
	static const char *const texts[] = {
	    "http://user:hush@h:0/?hush", "http://us%0aer:hush@h/?hush", "ftp://user:hush@h/?hush",
	    "user:hush@h/?hush",          "http://user:hush@a b/?hush",  "http:hush"};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct url url;
		struct error err = {0};

		cr_assert_eq(url_parse(texts[i], &url, &err), ERR_INVALID);
		cr_assert_null(strstr(err.message, "hush"), "%s", err.message);
	}
}

Test(url, a_url_of_a_megabyte_is_taken_and_a_longer_one_refused)
{
	size_t size = (1 << 20) + 1;
	char *text = malloc(size + 1);
	struct url url;

	memset(text, 'x', size);
	memcpy(text, "http://h/", 9);
	text[size] = '\0';
	assert_refused(text, "longer");
	text[size - 1] = '\0';
	memset(text + 100, '\xff', size - 101);
	url = parsed(text);
	url_release(&url);
	free(text);
}

Test(url, references_are_resolved)
{
	static const char *const cases[][2] = {
	    {"/x", "https://h:8443/x"},
	    {"x", "https://h:8443/a/x"},
	    {"../x y", "https://h:8443/x%20y"},
	    {"/%2e%2e/x", "https://h:8443/x"},
	    {"?q=ä", "https://h:8443/a/b?q=%C3%A4"},
	    {"", "https://h:8443/a/b?c"},
	    {"#f", "https://h:8443/a/b?c"},
	    {"//other/x", "https://other/x"},
	    {"http://o.example./#f", "http://o.example/"},
	    {"./:x", "https://h:8443/a/:x"},
	    {"/\\evil/", "https://h:8443/%5Cevil/"},
	};
	struct url base = parsed("https://h:8443/a/b?c#d");

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct url url;
		struct error err = {0};

		cr_assert_eq(url_resolve(&base, cases[i][0], &url, &err), 0, "%s: %s", cases[i][0],
			     err.message);
		cr_assert_str_eq(url.text, cases[i][1], "%s: %s", cases[i][0], url.text);
		url_release(&url);
	}
	url_release(&base);
}

Test(url, references_that_lead_nowhere_good_are_refused)
{
	static const char *const cases[] = {
	    "ftp://h/", "file:///etc/passwd", "mailto:x", "http:/x", "//", "///x", "x\r\ny",
	    "//h:0/",   "//a\\@b/",           "http://",  "https:x"};
	struct url base = parsed("https://h/a");

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct url url = {0};
		struct error err = {0};

		cr_assert_eq(url_resolve(&base, cases[i], &url, &err), ERR_INVALID, "%s", cases[i]);
		cr_assert_null(url.text);
	}
	url_release(&base);
}

Test(url, an_origin_is_scheme_host_and_port)
{
	static const char *const texts[] = {"https://h/b?c", "https://H:443/", "http://h/",
					    "https://h:444/", "https://i/"};
	const bool same[] = {true, true, false, false, false};
	struct url a = parsed("https://h/a");

	for (size_t i = 0; i < 5; i++) {
		struct url b = parsed(texts[i]);

		cr_assert_eq(url_same_origin(&a, &b), same[i], "%s", texts[i]);
		url_release(&b);
	}
	url_release(&a);
}

Test(url, the_log_sees_neither_query_nor_user)
{
	struct url url = parsed("https://user:hush@[::1]/a b?hush");
	char *text = url_for_log(&url);

	cr_assert_str_eq(text, "https://[::1]:443/a%20b");
	free(text);
	url_release(&url);
}

Test(url, this_machine_is_known_by_name_and_address)
{
	static const char *const here[] = {
	    "http://localhost/", "http://LOCALHOST.:80/", "http://a.localhost/",
	    "http://127.0.0.1/", "http://127.255.3.4/",   "http://0x7f000001/",
	    "http://[::1]/",     "http://[0:0::0:1]/",    "http://[::ffff:127.0.0.1]/"};
	static const char *const there[] = {"http://localhost.example/",
					    "http://notlocalhost/",
					    "http://128.0.0.1/",
					    "http://127.0.0.1.example/",
					    "http://[::2]/",
					    "http://[::ffff:128.0.0.1]/",
					    "http://0.0.0.0/",
					    "http://h/"};

	for (size_t i = 0; i < sizeof here / sizeof *here; i++) {
		struct url url = parsed(here[i]);

		cr_assert(url_is_loopback(&url), "%s", here[i]);
		url_release(&url);
	}
	for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
		struct url url = parsed(there[i]);

		cr_assert_not(url_is_loopback(&url), "%s", there[i]);
		url_release(&url);
	}
}

static void assert_built(const char *base, const char *const *segments,
			 const char *const *parameters, const char *expected)
{
	struct url url = parsed(base);
	char *text = url_build(&url, segments, parameters);
	struct url again = parsed(text);

	cr_assert_str_eq(text, expected, "%s", text);
	cr_assert_eq(strncmp(again.path, url.path, strlen(url.path)), 0, "leads out: %s",
		     again.path);
	free(text);
	url_release(&url);
	url_release(&again);
}

Test(url, segments_and_parameters_are_added_to_a_base)
{
	assert_built("https://h", (const char *[]){"v1", "commands", NULL}, NULL,
		     "https://h/v1/commands");
	assert_built("https://h/api/", (const char *[]){"v1", NULL}, NULL, "https://h/api/v1");
	assert_built("https://h:8/api?k=1", (const char *[]){"v1", NULL},
		     (const char *[]){"a", "1", "b", "", NULL}, "https://h:8/api/v1?k=1&a=1&b=");
	assert_built("https://h/api?k=1&", (const char *[]){"v1", NULL},
		     (const char *[]){"a", "1", NULL}, "https://h/api/v1?k=1&a=1");
	assert_built("https://h/x", NULL, NULL, "https://h/x");
	assert_built("https://h", NULL, NULL, "https://h/");
	assert_built("https://h:443/a%20b?x=%26", (const char *[]){"c", NULL}, NULL,
		     "https://h/a%20b/c?x=%26");
	assert_built("http://[::1]:8080?", NULL, (const char *[]){"a", "1", NULL},
		     "http://[::1]:8080/?a=1");
}

Test(url, nothing_in_a_segment_or_parameter_escapes_from_it)
{
	assert_built("https://h/api", (const char *[]){"a/b?c#d e", NULL},
		     (const char *[]){"n=m&", "v&w=ä +", NULL},
		     "https://h/api/a%2Fb%3Fc%23d%20e?n%3Dm%26=v%26w%3D%C3%A4%20%2B");
	assert_built("https://h/api", (const char *[]){"..", ".", "%2e%2e", NULL}, NULL,
		     "https://h/api/%252E%252E/%252E/%252e%252e");
}

static void assert_same_text(const char *what, const char *a, const char *b, const char *url)
{
	cr_assert_eq(a == NULL, b == NULL, "%s of %s", what, url);
	if (a)
		cr_assert_str_eq(a, b, "%s of %s", what, url);
}

/* A fragment changes nothing but that the URL is no plain one. */
static void assert_read_alike(const char *text)
{
	struct url plain, general;
	struct error err;
	char longer[512];
	cr_assert(url_parse_plain(text, &plain), "%s", text);
	snprintf(longer, sizeof longer, "%s#fragment", text);
	cr_assert_not(url_parse_plain(longer, &general));
	cr_assert_eq(url_parse(longer, &general, &err), 0, "%s", text);
	assert_same_text("text", plain.text, general.text, text);
	assert_same_text("scheme", plain.scheme, general.scheme, text);
	assert_same_text("host", plain.host, general.host, text);
	assert_same_text("path", plain.path, general.path, text);
	assert_same_text("query", plain.query, general.query, text);
	assert_same_text("user", plain.user, general.user, text);
	cr_assert_eq(plain.port, general.port, "%s", text);
	url_release(&plain);
	url_release(&general);
}

Test(url, plain_ones_are_read_as_all_others_are)
{
	static const char *const schemes[] = {"http", "https"};
	static const char *const hosts[] = {"a",         "lims.lab.local",  "127.0.0.1",
					    "10.1.2.3",  "x-1.y2.z",        "1.2.3.x",
					    "localhost", "255.255.255.255", "0.0.0.0"};
	static const char *const ports[] = {"", ":1", ":8080", ":65535"};
	static const char *const rests[] = {"/",
					    "/a",
					    "/a/b.json",
					    "//a//",
					    "/a;b=c,d/@e:f!$&(x)*+~_-",
					    "/a?b",
					    "/a?b=c&d=/e:f@g.h,.",
					    "/a.?x=.."};
	char text[256];
	for (size_t s = 0; s < 2; s++)
		for (size_t h = 0; h < sizeof hosts / sizeof hosts[0]; h++)
			for (size_t p = 0; p < 4; p++)
				for (size_t r = 0; r < sizeof rests / sizeof rests[0]; r++) {
					snprintf(text, sizeof text, "%s://%s%s%s", schemes[s],
						 hosts[h], ports[p], rests[r]);
					assert_read_alike(text);
				}
}

Test(url, what_needs_care_is_not_plain)
{
	static const char *const texts[] = {
	    "HTTP://a/",      "http://A/",      "http://a",           "http://a?b",
	    "http://u@a/",    "http://u:p@a/",  "http://a./",         "http://a..b/",
	    "http://.a/",     "http://127.1/",  "http://0x7f.0.0.1/", "http://127.0.0.01/",
	    "http://a.0x7f/", "http://1/",      "http://[::1]/",      "http://a:80/",
	    "https://a:443/", "http://a:080/",  "http://a:0/",        "http://a:65536/",
	    "http://a:/",     "http://a:1x/",   "http://a/./b",       "http://a/../b",
	    "http://a/.x",    "http://a/%61",   "http://a/a b",       "http://a/\xC3\xA9",
	    "http://a/'",     "http://a/a?b#c", "http://a/a?",        "http://a/a?b c",
	    "http://a/a?%20", "http://a/\\",    "ftp://a/",           "http:/a/",
	    "http:///a",      "http://a_b/",    "http://1.2.3.4.5/"};
	struct url url;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		cr_expect_not(url_parse_plain(texts[i], &url), "%s", texts[i]);
}
