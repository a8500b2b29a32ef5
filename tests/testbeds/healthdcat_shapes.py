"""SHACL shapes for an entry of a catalog: what HealthDCAT-AP asks of restricted datasets, and DCAT-AP of their parts.

Written from the specification: https://healthdataeu.pages.code.europa.eu/healthdcat-ap/.
"""

from __future__ import annotations

SHAPES = """
@prefix sh: <http://www.w3.org/ns/shacl#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix dcat: <http://www.w3.org/ns/dcat#> .
@prefix dct: <http://purl.org/dc/terms/> .
@prefix csvw: <http://www.w3.org/ns/csvw#> .
@prefix dcatap: <http://data.europa.eu/r5r/> .
@prefix healthdcatap: <http://healthdataportal.eu/ns/health#> .
@prefix : <urn:shapes:> .

:Dataset a sh:NodeShape ; sh:targetClass dcat:Dataset ;
    sh:property [ sh:path dct:title ; sh:minCount 1 ; sh:nodeKind sh:Literal ] ,
        [ sh:path dct:description ; sh:minCount 1 ; sh:nodeKind sh:Literal ] ,
        [ sh:path dct:identifier ; sh:minCount 1 ; sh:nodeKind sh:Literal ] ,
        [ sh:path dct:type ; sh:class skos:Concept ] ,
        [ sh:path dcat:theme ; sh:minCount 1 ; sh:class skos:Concept ] ,
        [ sh:path dcat:keyword ; sh:nodeKind sh:Literal ] ,
        [ sh:path dcat:distribution ; sh:minCount 1 ; sh:class dcat:Distribution ] ,
        [ sh:path dct:provenance ; sh:class dct:ProvenanceStatement ] ,
        [ sh:path healthdcatap:numberOfRecords ; sh:maxCount 1 ; sh:datatype xsd:nonNegativeInteger ] ,
        [ sh:path healthdcatap:hasStructuredData ; sh:minCount 1 ; sh:maxCount 1 ; sh:datatype xsd:boolean ] ,
        [ sh:path healthdcatap:hasVariables ; sh:minCount 1 ; sh:class csvw:TableGroup ] ,
        [ sh:path dct:accessRights ; sh:minCount 1 ; sh:maxCount 1 ] ,
        [ sh:path dcatap:applicableLegislation ; sh:minCount 1 ] ,
        [ sh:path healthdcatap:hdab ; sh:minCount 1 ; sh:maxCount 1 ] ,
        [ sh:path healthdcatap:healthCategory ; sh:minCount 1 ] .

:Distribution a sh:NodeShape ; sh:targetClass dcat:Distribution ;
    sh:property [ sh:path dcat:accessURL ; sh:minCount 1 ; sh:nodeKind sh:IRI ] ,
        [ sh:path dct:format ; sh:maxCount 1 ; sh:class dct:MediaTypeOrExtent ] ,
        [ sh:path dcat:mediaType ; sh:maxCount 1 ; sh:class dct:MediaType ] ,
        [ sh:path dcatap:applicableLegislation ; sh:minCount 1 ] .

:Provenance a sh:NodeShape ; sh:targetClass dct:ProvenanceStatement ;
    sh:property [ sh:path rdfs:label ; sh:minCount 1 ; sh:nodeKind sh:Literal ] .

:Concept a sh:NodeShape ; sh:targetClass skos:Concept ;
    sh:property [ sh:path skos:prefLabel ; sh:minCount 1 ; sh:nodeKind sh:Literal ] .

:Group a sh:NodeShape ; sh:targetClass csvw:TableGroup ;
    sh:property [ sh:path csvw:table ; sh:minCount 1 ; sh:class csvw:Table ] ,
        [ sh:path dct:title ; sh:minCount 1 ; sh:nodeKind sh:Literal ] .

:Table a sh:NodeShape ; sh:targetClass csvw:Table ;
    sh:property [ sh:path csvw:column ; sh:minCount 1 ; sh:class csvw:Column ] ,
        [ sh:path dct:title ; sh:minCount 1 ; sh:nodeKind sh:Literal ] .

:Column a sh:NodeShape ; sh:targetClass csvw:Column ;
    sh:property [ sh:path csvw:name ; sh:minCount 1 ; sh:maxCount 1 ; sh:nodeKind sh:Literal ] ,
        [ sh:path csvw:title ; sh:minCount 1 ; sh:nodeKind sh:Literal ] ,
        [ sh:path csvw:datatype ; sh:minCount 1 ; sh:maxCount 1 ; sh:nodeKind sh:Literal ] ,
        [ sh:path dct:description ; sh:minCount 1 ; sh:nodeKind sh:Literal ] .
"""
