#!/bin/sh
# Write the secrets of a new deployment, each into a file that only its owner can read.
# An existing file is never replaced: a lost Fernet key or signing key cannot be made again.
#
#   make_secrets.sh FOLDER
set -eu
umask 077

folder="${1:?make_secrets.sh FOLDER}"
python="${PYTHON:-python3}"
mkdir -p "$folder"

write() {
    if [ -e "$folder/$1" ]; then
        echo "make_secrets: kept $1"
    else
        "$python" -c "$2" >"$folder/$1"
        echo "make_secrets: wrote $1"
    fi
}

write postgres_password 'import secrets; print(secrets.token_hex(24), end="")'
write fernet_key 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode(), end="")'
write jwt_secret 'import secrets; print(secrets.token_hex(32), end="")'
write api_secret_key 'import secrets; print(secrets.token_hex(32), end="")'

if [ ! -e "$folder/database_url" ]; then
    password="$(cat "$folder/postgres_password")"
    printf 'postgresql+psycopg2://airflow:%s@postgres/airflow' "$password" >"$folder/database_url"
    echo "make_secrets: wrote database_url"
fi
