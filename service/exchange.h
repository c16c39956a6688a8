/* How a request comes in and its answer goes out: what libmicrohttpd calls. context is the
 * struct server in all of them. */
#ifndef SERVICE_EXCHANGE_H
#define SERVICE_EXCHANGE_H

#include "service/request.h"

#include <microhttpd.h>
#include <stddef.h>

/* A request's first line has come; uri is as the client wrote it. Makes the request. */
void *exchange_on_uri(void *context, const char *uri, struct MHD_Connection *connection);
/* The head, a piece of the body, or the end of the request; and again after a suspension. */
enum MHD_Result exchange_on_access(void *context, struct MHD_Connection *connection,
				   const char *url, const char *method, const char *version,
				   const char *data, size_t *size, void **con_cls);
/* It is over; frees the request. */
void exchange_on_completed(void *context, struct MHD_Connection *connection, void **con_cls,
			   enum MHD_RequestTerminationCode code);
/* A connection was opened or closed. */
void exchange_on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
			    enum MHD_ConnectionNotificationCode code);

/* The one function that changes a request's phase. */
void request_set_phase(struct request *request, enum request_phase phase);

#endif
