/* Was it a proxy that an exchange talked to, or tried to? Used by http.c alone. */
#ifndef AGENT_HTTP_PROXY_H
#define AGENT_HTTP_PROXY_H

#include "agent/http.h"

/* easy (CURL *) has ended; proxy is the one that was set (NULL: none), address the last that a
 * connection was tried to. NO_PROXY may have kept the proxy away; the port of the connection
 * tells. name is "host:port" without user and password, or "". */
void http_proxy_in_the_way(void *easy, const char *proxy, const char *address,
			   char name[HTTP_PROXY_NAME_SIZE]);

#endif
