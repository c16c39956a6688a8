/* What libcurl can do: bare requests on the target, so many at once on kept connections, and
 * nothing around them. With --concurrency 1 it is the direct request that the latency of a
 * relayed one is compared with. Says "done {figures}" of the requests after the --warm ones. */
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "tests/bench/multi.h"
#include "tests/bench/order.h"
#include "tests/bench/say.h"

#include <stdlib.h>

struct limit {
	struct multi multi;
	const char *url;
	size_t concurrency, warm, count, body_bytes;
	size_t started, ended;
	struct buf body;
	struct curl_slist *headers;
	int64_t *took_us;
	int64_t began_us, began_cpu_us;
};

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
	(void)bytes;
	(void)context;
	return size * count;
}

static CURL *new_request(const struct limit *limit)
{
	CURL *easy = curl_easy_init();
	if (easy == NULL)
		die("cannot start libcurl");
	multi_check(curl_easy_setopt(easy, CURLOPT_URL, limit->url));
	multi_check(curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L));
	multi_check(curl_easy_setopt(easy, CURLOPT_PROXY, ""));
	multi_check(curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body));
	if (limit->body_bytes > 0) {
		multi_check(curl_easy_setopt(easy, CURLOPT_POSTFIELDS, limit->body.data));
		multi_check(curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)limit->body.size));
		multi_check(curl_easy_setopt(easy, CURLOPT_HTTPHEADER, limit->headers));
	}
	return easy;
}

static void start(struct limit *limit, CURL *easy)
{
	limit->started++;
	multi_add(&limit->multi, easy);
}

static void finish(struct limit *limit)
{
	struct json_object *out = json_new_object();
	int64_t cpu = cpu_us(0) - limit->began_cpu_us;
	json_set_int64(out, "us", now_us() - limit->began_us);
	json_set_int64(out, "cpu_us", cpu);
	json_set_int64(out, "commands", (int64_t)limit->count);
	json_set(out, "latency_us", percentiles(limit->took_us, limit->count));
	say("done", out);
	limit->multi.is_over = true;
}

static void on_done(void *context, CURL *easy, CURLcode code)
{
	struct limit *limit = context;
	long status;
	curl_off_t took_us;
	multi_check(code);
	multi_check(curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status));
	multi_check(curl_easy_getinfo(easy, CURLINFO_TOTAL_TIME_T, &took_us));
	if (status != 200)
		die("the target answered %ld", status);
	if (limit->ended >= limit->warm)
		limit->took_us[limit->ended - limit->warm] = took_us;
	limit->ended++;
	if (limit->ended == limit->warm) {
		limit->began_us = now_us();
		limit->began_cpu_us = cpu_us(0);
	}
	if (limit->ended == limit->warm + limit->count)
		finish(limit);
	else if (limit->started < limit->warm + limit->count)
		start(limit, easy);
	else
		curl_easy_cleanup(easy);
}

int main(int argc, char **argv)
{
	struct limit limit = {
	    .concurrency = 10, .warm = 100, .count = 1000, .body = BUF_INIT(1 << 26)};
	const struct option_row options[] = {
	    {"url", &limit.url, NULL, true},
	    {"concurrency", NULL, &limit.concurrency, false},
	    {"warm", NULL, &limit.warm, false},
	    {"count", NULL, &limit.count, false},
	    {"body-bytes", NULL, &limit.body_bytes, false}, /* POST; else GET */
	};
	options_read(argc, argv, options, sizeof options / sizeof options[0]);
	if (limit.warm == 0 || limit.count == 0)
		die("--warm and --count must be at least 1");
	limit.took_us = mem_calloc(limit.count, sizeof limit.took_us[0]);
	limit.headers = curl_slist_append(NULL, "Content-Type: application/json");
	order_body(limit.body_bytes, &limit.body);
	limit.multi.on_done = on_done;
	limit.multi.context = &limit;
	multi_init(&limit.multi);
	for (size_t i = 0; i < limit.concurrency && i < limit.warm + limit.count; i++)
		start(&limit, new_request(&limit));
	multi_run(&limit.multi);
	free(limit.took_us);
	curl_slist_free_all(limit.headers);
	buf_release(&limit.body);
	multi_release(&limit.multi);
	return 0;
}
