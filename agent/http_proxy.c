#include "agent/http_proxy.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "host:port" of a proxy, without its user and password; 0 when it cannot be read. */
static long proxy_name(const char *proxy, char name[HTTP_PROXY_NAME_SIZE])
{
	CURLU *url = curl_url();
	char *host = NULL;
	char *port = NULL;
	long number = 0;
	if (url != NULL &&
	    curl_url_set(url, CURLUPART_URL, proxy,
			 CURLU_GUESS_SCHEME | CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
	    curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
		/* libcurl's own default for proxies. */
		bool has_port = curl_url_get(url, CURLUPART_PORT, &port, 0) == CURLUE_OK;
		snprintf(name, HTTP_PROXY_NAME_SIZE, "%.255s:%.5s", host, has_port ? port : "1080");
		number = has_port ? strtol(port, NULL, 10) : 1080;
	}
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(url);
	return number;
}

void http_proxy_in_the_way(void *easy, const char *proxy, const char *address,
			   char name[HTTP_PROXY_NAME_SIZE])
{
	long port = 0;
	const char *tried = strrchr(address, ':');
	name[0] = '\0';
	if (proxy == NULL)
		return;
	curl_easy_getinfo((CURL *)easy, CURLINFO_PRIMARY_PORT, &port);
	if (port == 0 && tried != NULL)
		port = strtol(tried + 1, NULL, 10);
	/* Without a port nobody was reached: its name could not be looked up. */
	if (proxy_name(proxy, name) != port && port != 0)
		name[0] = '\0';
}
