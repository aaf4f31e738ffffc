"""How common names and cities are in Brazil and in English-speaking countries: the shipped frequencies.

Rough shares of people, in ten thousandths, as censuses count them; a name that both languages have stands
with the larger share. With them matching works before anything is learned, and in a file of few records a
common name counts as common although it occurs once. It must not know records.
"""

from __future__ import annotations

from typing import Final

from .model import Model, first_model

SHARE: Final = 10_000
SHIPPED_RECORDS: Final = 100_000
"""So many records the shipped model stands for: its prior is one match for each of them."""
FURTHER_RECORDS: Final = 200
"""In the frequencies of a file the shipped ones count as those of so many further records."""

GIVEN: Final = """
maria 615 jose 302 ana 162 joao 156 antonio 135 francisco 93 carlos 78 paulo 75 pedro 64 lucas 59 luiz 58
marcos 56 luis 49 gabriel 49 rafael 43 francisca 38 daniel 48 marcelo 36 bruno 35 eduardo 33 felipe 32
raimundo 31 rodrigo 31 manoel 30 mateus 18 matheus 20 andre 31 fernando 29 fabio 27 leonardo 26 gustavo 26
guilherme 26 leandro 25 tiago 14 thiago 16 anderson 24 ricardo 24 marcio 24 jorge 23 sebastiao 22
alexandre 22 roberto 22 edson 21 diego 20 vitor 19 sergio 19 claudio 19 adriano 16 luciano 14 julio 14
renato 14 adriana 29 juliana 29 marcia 29 fernanda 28 patricia 53 aline 27 sandra 31 camila 25 amanda 24
bruna 24 jessica 25 leticia 23 julia 23 luciana 23 vanessa 22 mariana 22 gabriela 21 vera 20 vitoria 20
larissa 20 claudia 19 beatriz 19 rita 18 luana 18 sonia 18 renata 17 eliane 17 josefa 15 simone 14
natalia 14 cristiane 14 carla 13 debora 13 rosangela 12 jaqueline 12 rosa 12 daniela 12 aparecida 11
terezinha 11 helena 11 antonia 31 raimunda 12 miguel 15 arthur 17 davi 15 heitor 8 bernardo 8 samuel 17
enzo 10 alice 18 laura 26 sofia 10 isabela 10 isabella 8 lucia 12 tereza 10 marta 10 regina 8 joana 9
cicero 9 severino 9 valdir 8 geraldo 13 nelson 8 mario 12 rogerio 11 mauricio 9 igor 8 caio 7 otavio 5
victor 11 vinicius 12 wagner 7 wesley 7 wellington 7 douglas 18 alex 14 alan 11 elaine 10 edna 8 ivone 6
james 165 john 163 robert 157 michael 131 william 122 david 118 mary 131 linda 52 richard 85 charles 76
joseph 70 thomas 69 christopher 51 paul 47 mark 47 donald 46 george 46 kenneth 41 steven 39 edward 38
brian 36 ronald 36 anthony 35 kevin 33 jason 33 matthew 33 gary 32 timothy 32 larry 30 jeffrey 29 frank 29
scott 27 eric 27 stephen 27 andrew 27 raymond 24 gregory 22 joshua 22 jerry 21 dennis 21 walter 20
patrick 19 peter 19 harold 18 henry 18 carl 17 ryan 16 roger 16 joe 16 juan 15 jack 15 albert 15
jonathan 15 justin 15 terry 15 gerald 14 keith 14 willie 15 ralph 14 lawrence 14 nicholas 13 roy 13
benjamin 13 bruce 13 brandon 13 adam 13 harry 12 fred 12 wayne 12 billy 12 steve 12 louis 12 jeremy 12
aaron 12 randy 12 howard 11 eugene 11 russell 11 bobby 11 martin 11 ernest 11 philip 10 craig 9 oliver 9
barbara 49 elizabeth 47 jennifer 47 susan 40 margaret 38 dorothy 36 lisa 35 nancy 33 karen 33 betty 33
helen 33 donna 29 carol 28 ruth 28 sharon 26 michelle 26 sarah 25 kimberly 25 deborah 25 shirley 24
cynthia 23 angela 23 melissa 23 brenda 23 amy 23 anna 22 rebecca 22 virginia 22 kathleen 21 pamela 21
martha 21 debra 20 stephanie 20 carolyn 19 christine 19 marie 19 janet 19 catherine 19 frances 18 ann 18
joyce 18 diane 18 julie 17 heather 17 teresa 17 doris 17 gloria 17 evelyn 16 jean 16 cheryl 16 mildred 16
katherine 16 joan 15 ashley 15 judith 15 rose 15 janice 14 kelly 14 nicole 14 judy 14 christina 14 kathy 14
theresa 13 beverly 13 denise 13 tammy 13 irene 13 jane 12 lori 12 rachel 12 marilyn 12 andrea 12 kathryn 12
louise 11 sara 11 anne 11 jacqueline 11 emily 12 emma 12 olivia 9 sophie 8 charlotte 9 lucy 7 grace 8
"""
FAMILY: Final = """
silva 1676 santos 1052 oliveira 577 souza 453 sousa 210 pereira 339 ferreira 307 lima 300 alves 284
rodrigues 267 costa 239 gomes 200 ribeiro 195 martins 175 carvalho 175 araujo 170 almeida 165 nascimento 160
lopes 145 soares 135 barbosa 130 fernandes 130 vieira 120 rocha 115 dias 105 andrade 95 moreira 85 nunes 85
marques 80 machado 70 mendes 75 freitas 75 cardoso 75 ramos 75 teixeira 70 goncalves 110 santana 75
batista 75 cavalcante 40 cavalcanti 25 melo 75 moura 60 monteiro 55 correia 45 correa 45 campos 55 reis 70
cruz 65 borges 50 pinto 50 miranda 45 castro 55 duarte 40 medeiros 40 azevedo 40 barros 60 pires 40
conceicao 85 jesus 130 guimaraes 35 macedo 35 farias 40 tavares 40 brito 45 cunha 45 bezerra 45 queiroz 30
xavier 30 viana 30 neves 35 sales 30 fonseca 35 coelho 35 matos 35 magalhaes 30 leite 35 franca 25 morais 35
moraes 35 aguiar 25 amaral 25 figueiredo 25 coutinho 20 pinheiro 30 peixoto 20 maciel 25 siqueira 25
aparecida 140 carlos 90 maria 60 jose 60 luiz 60 paulo 60 cristina 60 lucia 50 antonio 60 henrique 50
eduardo 50 augusto 30 fatima 30 roberto 50 beatriz 30 helena 30 luiza 30 clara 25 gabriel 30 miguel 20
vitor 20 regina 25 rita 12 cesar 25 francisco 40 socorro 15 gracas 15 lourdes 20
smith 101 johnson 81 williams 70 jones 62 brown 62 davis 48 miller 42 wilson 34 moore 31 taylor 40
anderson 31 thomas 40 jackson 31 white 28 harris 28 martin 27 thompson 27 garcia 25 martinez 23 robinson 23
clark 23 rodriguez 23 lewis 23 lee 60 walker 22 hall 20 allen 20 young 19 hernandez 19 king 19 wright 19
lopez 19 hill 19 scott 25 green 18 adams 17 baker 17 gonzalez 17 nelson 16 carter 16 mitchell 16 perez 16
roberts 16 turner 15 phillips 15 campbell 15 parker 15 evans 18 edwards 15 collins 13 stewart 13 sanchez 13
morris 13 rogers 12 reed 12 cook 12 morgan 12 bell 12 murphy 12 bailey 12 rivera 11 cooper 11 richardson 11
cox 11 howard 11 ward 11 torres 11 peterson 11 gray 11 ramirez 11 james 60 watson 10 brooks 10 kelly 10
sanders 10 price 10 bennett 10 wood 12 barnes 9 ross 9 henderson 9 coleman 9 jenkins 9 perry 9 powell 9
long 9 patterson 9 hughes 10 flores 9 butler 9 simmons 9 foster 9 bryant 9 alexander 12 russell 8 griffin 8
diaz 8 hayes 8 marie 60 ann 60 lynn 40 john 50 elizabeth 40 william 40 michael 40 david 40 jane 25 louise 25
"""
CITY: Final = """
sao paulo 590 rio de janeiro 326 brasilia 135 salvador 127 fortaleza 128 belo horizonte 121 manaus 94
curitiba 93 recife 80 porto alegre 72 belem 70 goiania 68 guarulhos 66 campinas 59 sao luis 54 sao goncalo 52
maceio 49 duque de caxias 45 campo grande 45 natal 42 teresina 42 joao pessoa 40 nova iguacu 40
sao bernardo do campo 40 santo andre 36 osasco 34 jaboatao dos guararapes 34 ribeirao preto 34 uberlandia 33
sorocaba 33 contagem 32 aracaju 31 cuiaba 30 feira de santana 30 joinville 29 londrina 28 juiz de fora 27
niteroi 26 florianopolis 25 new york 250 los angeles 115 chicago 80 houston 69 phoenix 48 philadelphia 48
san antonio 43 san diego 42 dallas 39 london 300 birmingham 40 manchester 30 sydney 60 melbourne 60
toronto 40 dublin 30
"""


def _shares(text: str) -> dict[str, int]:
    """Value → ten thousandths; a value may have several words."""
    shares: dict[str, int] = {}
    words: list[str] = []
    for word in text.split():
        if word.isdigit():
            shares[" ".join(words)] = int(word)
            words = []
        else:
            words.append(word)
    return shares


def _letters(shares: dict[str, int]) -> dict[str, int]:
    """Initial → ten thousandths of people; those who are not listed are taken to begin like the listed."""
    letters: dict[str, int] = {}
    for name, share in shares.items():
        letters[name[0]] = letters.get(name[0], 0) + share
    whole = sum(letters.values())
    return {letter: max(share * SHARE // whole, 1) for letter, share in letters.items()}


def shipped_frequencies(records: int) -> dict[str, int]:
    """How many of so many records would hold a value, by `compare.terms_of`; none that no record would."""
    given, family, city = _shares(GIVEN), _shares(FAMILY), _shares(CITY)
    tables = {"f:": given, "y:": _letters(given), "l:": family, "v:": _letters(family), "c:": city}
    found = {table + value: share for table, shares in tables.items() for value, share in shares.items()}
    return {term: share * records // SHARE for term, share in found.items() if share * records >= SHARE}


def shipped_model() -> Model:
    """The model that needs no training: shipped chances and frequencies."""
    model = first_model(SHIPPED_RECORDS)
    model.frequencies = shipped_frequencies(SHIPPED_RECORDS)
    return model
