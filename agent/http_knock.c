#include "agent/http_knock.h"

#include "base/mem.h"

#include <curl/curl.h>
#include <stdlib.h>

struct http_knock {
	struct loop *loop;
	struct loop_transfer transfer;
	struct loop_task failure; /* queued when it could not be started */
	void (*on_done)(void *context, bool is_open);
	void *context;
};

static void knock_free(struct http_knock *knock)
{
	curl_easy_cleanup(knock->transfer.easy); /* and with it the connection */
	free(knock);
}

static void on_transfer_done(void *context, int curl_code)
{
	struct http_knock *knock = context;
	knock->on_done(knock->context, (CURLcode)curl_code == CURLE_OK);
	knock_free(knock);
}

static void on_start_failed(void *context)
{
	on_transfer_done(context, CURLE_FAILED_INIT);
}

/* http whatever the URL says: a handshake would be bytes. */
static void set_up(CURL *easy, const struct url *url, int64_t timeout_ms)
{
	char *text = mem_printf("http://%s:%u/", url->host, (unsigned)url->port);
	curl_easy_setopt(easy, CURLOPT_URL, text);
	free(text);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L); /* it may have moved */
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
}

struct http_knock *http_knock_start(struct loop *loop, const struct url *url, int64_t timeout_ms,
				    void (*on_done)(void *context, bool is_open), void *context)
{
	struct http_knock *knock = mem_new(struct http_knock);
	struct error err;
	CURL *easy = curl_easy_init();
	if (easy == NULL)
		abort(); /* as mem.h does */
	knock->loop = loop;
	knock->on_done = on_done;
	knock->context = context;
	knock->transfer =
	    (struct loop_transfer){.easy = easy, .on_done = on_transfer_done, .context = knock};
	knock->failure = (struct loop_task){.run = on_start_failed, .context = knock};
	set_up(easy, url, timeout_ms);
	if (loop_transfer_add(loop, &knock->transfer, &err) != 0)
		loop_defer(loop, &knock->failure);
	return knock;
}

void http_knock_cancel(struct http_knock *knock)
{
	if (knock == NULL)
		return;
	if (knock->failure.is_queued)
		loop_cancel(knock->loop, &knock->failure);
	else
		loop_transfer_remove(knock->loop, &knock->transfer);
	knock_free(knock);
}
