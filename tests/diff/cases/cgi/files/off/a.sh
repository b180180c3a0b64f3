#!/bin/sh
body="$REQUEST_METHOD $REQUEST_URI $SCRIPT_NAME ${PATH_INFO-none} $QUERY_STRING $REDIRECT_STATUS $REDIRECT_URL ${REDIRECT_QUERY_STRING-none} ${REDIRECT_HANDLER-none} ${CONTENT_LENGTH-none} $PATH_TRANSLATED
$(cat)"
printf 'Content-Type: text/plain\nContent-Length: %d\n\n%s' ${#body} "$body"
