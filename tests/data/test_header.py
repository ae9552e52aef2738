"""Data that lost its header never passes for column names; ordinary headers do."""

from __future__ import annotations

import pytest

from airflow_approvals.data.header import is_data
from airflow_approvals.data.names import NameScanner
from airflow_approvals.detection.findings import Finding
from airflow_approvals.detection.profiles import CLASSIFICATION
from tests.detection.engines import classification_engine, masking_engine

ENGINES = {"masking": masking_engine, "classification": classification_engine}

HEADERS = """\
name,city,date,amount,2024_total
ticket_id,opened_at,customer_number,customer_name,email,phone,country,city,date_of_birth,iban,status,message
PassengerId,Survived,Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked
Order ID,Order Date,Ship Mode,Customer Name,Country,City,State,Postal Code,Region,Sales,Quantity,Profit
First Name,Last Name,Email Address,Phone Number,Street Address,City,Zip Code,Date of Birth
FIRST_NAME,LAST_NAME,EMAIL,CITY,STATE
Kundennummer,Vorname,Nachname,Straße,Hausnummer,PLZ,Ort,Telefon,Geburtsdatum
Nombre,Apellido,Dirección,Ciudad,Teléfono,Fecha
timestamp,level,logger,message,user_id,ip
Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday
January,February,March,April
country,Q1 2024,Q2 2024
country,2024-01,2024-02
country,2019,2020,2021
year,1990,2000,2010
,0,1,2,3
id,1,2,3
Time,V1,V2,V3,V4,V5,V28,Amount,Class
PC1,PC2,PC3
0-9,10-19,20-29
en_US,de_DE
<PERSON>,<EMAIL_ADDRESS>,<PHONE_NUMBER>
id,carol@example.com,note
id,+49 30 23125 417,note
id,Karen Smith,note
id,198.51.100.77,note
a
""".splitlines()

DATA = """\
Karen,Springfield,1984-02-03,hunter2
Karen,Springfield,hunter2
Karen,1984,hunter2
Bob,Alice,x
Karen Smith,London
17,hunter2
1,2,hunter2
12.50,open
-3,open
1.234.567,open
3/4/84,open
03.04.1984,open
T-17,hunter2,2026-01-05T10:17:00Z
hunter2,10:17
karen@x.org,+49 30 23125 417,hunter2,open,blue,green
T-1,karen@x.org,4111 1111 1111 1111,open,blue,green
4111111111111111,open
 17 ,hunter2
""".splitlines()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("line", HEADERS)
def test_ordinary_header_passes(line: str, engine: str) -> None:
    cells = line.split(",")
    assert not is_data(cells, _findings(cells, engine))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("line", DATA)
def test_data_is_no_header(line: str, engine: str) -> None:
    cells = line.split(",")
    assert is_data(cells, _findings(cells, engine))


def _findings(cells: list[str], engine: str) -> list[list[Finding]]:
    return NameScanner(ENGINES[engine](), CLASSIFICATION).as_values(cells)
