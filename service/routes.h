/* The calls that the service answers: one table. */
#ifndef SERVICE_ROUTES_H
#define SERVICE_ROUTES_H

#include "service/request.h"

#include <stddef.h>

struct route {
	const char *method;
	const char *pattern; /* "/v1/commands/{}": {} is any one segment */
	enum role role;      /* ROLE_NONE: no token needed */
	size_t max_body;     /* 0: takes no body */
	/* Answers, or makes the request wait. Called when the request is whole. */
	void (*handle)(struct request *request);
	/* With this the body is not collected but handed over in pieces; begin is called
	 * before the first. Either may answer: then the rest is thrown away. */
	void (*begin)(struct request *request);
	void (*receive)(struct request *request, const char *bytes, size_t size);
	const char *body_name; /* for messages: "a command" */
};

/* Finds the route for the request's method and segments and sets route and parameters, or
 * answers 404 or 405. */
void route_find(struct request *request);

/* The handlers, by file. */
void on_healthz(struct request *request);      /* routes.c */
void on_command_post(struct request *request); /* create.c */
void on_command_get(struct request *request);  /* requestor.c */
void on_history(struct request *request);
void on_actions(struct request *request);
void on_purge(struct request *request);
void on_search(struct request *request);       /* list.c */
void on_response_get(struct request *request); /* download.c */
void on_body_get(struct request *request);
void on_receive(struct request *request); /* receive.c */
void on_extend(struct request *request);  /* agents.c */
void on_status(struct request *request);  /* updates.c */
void on_agent_config(struct request *request);
void on_agent_status(struct request *request);
void on_upload_begin(struct request *request); /* upload.c */
void on_upload_bytes(struct request *request, const char *bytes, size_t size);
void on_upload(struct request *request);

#endif
